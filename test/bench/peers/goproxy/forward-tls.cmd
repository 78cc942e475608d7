{bin}/peer-goproxy -listen 127.0.0.1:{tlsport} -cert {cert} -key {key}
