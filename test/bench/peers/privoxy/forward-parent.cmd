sh -c 'echo "forward / {parent}" >>{dir}/config && exec privoxy --no-daemon {dir}/config'
