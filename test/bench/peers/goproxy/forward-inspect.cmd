{bin}/peer-goproxy -listen 127.0.0.1:{port} -ca {ca} -origin-ca {cert}
