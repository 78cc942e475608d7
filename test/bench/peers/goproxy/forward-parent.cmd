{bin}/peer-goproxy -listen 127.0.0.1:{port} -parent http://{parent}
