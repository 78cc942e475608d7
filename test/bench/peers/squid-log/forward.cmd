squid -N -n bench{port} -f {dir}/squid.conf
