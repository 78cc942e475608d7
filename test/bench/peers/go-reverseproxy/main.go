// A bare net/http/httputil reverse proxy over round-robin backends.
package main

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

type buffers struct{ sync.Pool }

func (b *buffers) Get() []byte    { return b.Pool.Get().([]byte) }
func (b *buffers) Put(buf []byte) { b.Pool.Put(buf) } //nolint:staticcheck // the interface of httputil wants a slice

// Arguments: address, address of TLS, certificate, key, backends in a comma list.
func main() {
	h := handler(strings.Split(os.Args[5], ","))
	ended := make(chan error)
	go func() { ended <- (&http.Server{Addr: os.Args[1], Handler: h}).ListenAndServe() }()
	go func() {
		ended <- (&http.Server{Addr: os.Args[2], Handler: h}).ListenAndServeTLS(os.Args[3], os.Args[4])
	}()
	fmt.Fprintln(os.Stderr, <-ended)
	os.Exit(1)
}

func handler(hosts []string) http.Handler {
	var backends []*url.URL
	for _, host := range hosts {
		backends = append(backends, &url.URL{Scheme: "http", Host: host})
	}
	var next atomic.Uint64
	return &httputil.ReverseProxy{
		Transport:  &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true, ForceAttemptHTTP2: true},
		BufferPool: &buffers{sync.Pool{New: func() any { return make([]byte, 32<<10) }}},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(backends[next.Add(1)%uint64(len(backends))])
		},
	}
}
