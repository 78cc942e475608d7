// A bare goproxy server: the library as it comes, with an idle pool that fits the load.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/elazarl/goproxy"
)

func main() {
	addr := flag.String("listen", "", "address to listen on")
	cert := flag.String("cert", "", "certificate, to speak TLS")
	key := flag.String("key", "", "its key")
	parent := flag.String("parent", "", "URL of a parent proxy")
	flag.Parse()

	p := goproxy.NewProxyHttpServer()
	p.Tr.MaxIdleConnsPerHost = 256
	if *parent != "" {
		p.Tr.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(*parent) }
		p.ConnectDial = p.NewConnectDialToProxy(*parent)
	}
	srv := &http.Server{Addr: *addr, Handler: p}
	var err error
	if *cert != "" {
		// An HTTP/2 stream cannot be hijacked for a tunnel.
		srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		err = srv.ListenAndServeTLS(*cert, *key)
	} else {
		err = srv.ListenAndServe()
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
