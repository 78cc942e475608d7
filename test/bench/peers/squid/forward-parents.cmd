squid -N -n bench{port} -f {dir}/{kind}.conf
