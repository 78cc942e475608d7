package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
)

// listenTLS opens a port where the origin has its small pages over TLS: a goroutine
// a connection, beside the loop that the other ports have.
func listenTLS(port int, pem string) (net.Listener, error) {
	cert, err := tls.LoadX509KeyPair(pem, pem)
	if err != nil {
		return nil, fmt.Errorf("-origin-cert: %w", err)
	}
	return tls.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port), &tls.Config{Certificates: []tls.Certificate{cert}})
}

func acceptTLS(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go answerTLS(c)
	}
}

// answerTLS answers on one connection until it ends, or more is asked for than a
// small page.
func answerTLS(c net.Conn) {
	defer c.Close()
	p := &peer{o: &origin{pages: map[int64][]byte{}}}
	for buf := make([]byte, 16<<10); !p.last; p.out = nil {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		p.take(buf[:n])
		if p.file > 0 || p.echo {
			return
		}
		if _, err := c.Write(p.out); err != nil {
			return
		}
	}
}
