sh -c '/opt/squid-openssl/usr/lib/squid/security_file_certgen -c -s {dir}/certs -M 4MB && chown -R proxy {dir}/certs; exec /opt/squid-openssl/usr/sbin/squid -N -n bench{port} -f {dir}/{kind}.conf'
