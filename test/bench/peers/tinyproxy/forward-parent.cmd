sh -c 'echo "Upstream http {parent}" >>{dir}/tinyproxy.conf && exec tinyproxy -d -c {dir}/tinyproxy.conf'
