haproxy -db -f {dir}/relay-tls.cfg
