/opt/squid-openssl/usr/sbin/squid -N -n bench{port} -f {dir}/{kind}.conf
