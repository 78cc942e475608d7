haproxy -db -f {dir}/{kind}.cfg
