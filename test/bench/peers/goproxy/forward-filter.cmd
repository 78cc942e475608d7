{bin}/peer-goproxy -listen 127.0.0.1:{port} -remove X-Nothing
