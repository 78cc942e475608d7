sh -c 'echo "BasicAuth bench bench" >>{dir}/tinyproxy.conf && exec tinyproxy -d -c {dir}/tinyproxy.conf'
