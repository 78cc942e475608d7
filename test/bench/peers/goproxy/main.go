// A bare goproxy server: the library as it comes, with an idle pool that fits the load.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/elazarl/goproxy"
)

func main() {
	addr := flag.String("listen", "", "address to listen on")
	cert := flag.String("cert", "", "certificate, to speak TLS")
	key := flag.String("key", "", "its key")
	parent := flag.String("parent", "", "URL of a parent proxy")
	remove := flag.String("remove", "", "name of a field to take off each request")
	ca := flag.String("ca", "", "folder of an authority, to inspect all TLS with")
	origin := flag.String("origin-ca", "", "whom to believe where TLS is inspected")
	flag.Parse()

	p := goproxy.NewProxyHttpServer()
	p.Tr.MaxIdleConnsPerHost = 256
	if *parent != "" {
		p.Tr.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(*parent) }
		p.ConnectDial = p.NewConnectDialToProxy(*parent)
	}
	if *remove != "" {
		p.OnRequest().DoFunc(func(r *http.Request, _ *goproxy.ProxyCtx) (*http.Request, *http.Response) {
			r.Header.Del(*remove)
			return r, nil
		})
	}
	if *ca != "" {
		must(inspect(p, *ca, *origin))
	}
	srv := &http.Server{Addr: *addr, Handler: p}
	if *cert != "" {
		// An HTTP/2 stream cannot be hijacked for a tunnel.
		srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		must(srv.ListenAndServeTLS(*cert, *key))
	}
	must(srv.ListenAndServe())
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// inspect opens all TLS, and checks the origin's as Go does.
func inspect(p *goproxy.ProxyHttpServer, folder, origin string) error {
	ca, err := tls.LoadX509KeyPair(filepath.Join(folder, "ca.crt"), filepath.Join(folder, "ca.key"))
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(origin)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	p.Tr.TLSClientConfig = &tls.Config{RootCAs: roots}
	p.CertStore = &store{certs: map[string]*tls.Certificate{}}
	open := &goproxy.ConnectAction{Action: goproxy.ConnectMitm, TLSConfig: goproxy.TLSConfigFromCA(&ca)}
	p.OnRequest().HandleConnect(goproxy.FuncHttpsHandler(func(host string, _ *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
		return open, host
	}))
	return nil
}

// store keeps the certificates that were made: the library has none of its own.
type store struct {
	mu    sync.Mutex
	certs map[string]*tls.Certificate
}

// Fetch makes a certificate once.
func (s *store) Fetch(name string, mint func() (*tls.Certificate, error)) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.certs[name]; c != nil {
		return c, nil
	}
	c, err := mint()
	if err == nil {
		s.certs[name] = c
	}
	return c, err
}
