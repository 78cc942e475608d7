// A TCP relay in plain Go: what a tunnel costs when nothing else is done.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

func main() {
	if err := serve(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(addr, origin string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil { // out of descriptors, most likely
			fmt.Fprintln(os.Stderr, err)
			<-time.After(10 * time.Millisecond)
			continue
		}
		go relay(c.(*net.TCPConn), origin)
	}
}

func relay(client *net.TCPConn, origin string) {
	defer client.Close()
	c, err := net.Dial("tcp", origin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	server := c.(*net.TCPConn)
	defer server.Close()
	go pump(server, client)
	pump(client, server)
}

// pump copies until src ends and passes the end on. An error ends the other
// direction too, which finds its connection broken.
func pump(dst, src *net.TCPConn) {
	_, _ = io.Copy(dst, src)
	_ = dst.CloseWrite()
}
