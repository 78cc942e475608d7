sh -c 'echo "CONFIG proxy.config.ssl.client.scheme_proto_mismatch_policy INT 0" >>{dir}/records.config; exec env TS_RUNROOT={dir} traffic_server'
