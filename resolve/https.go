package resolve

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

const mediaType = "application/dns-message"

// web asks over HTTPS (RFC 8484).
type web struct {
	client *http.Client
	url    string
}

func newWeb(l *link) *web {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			// Its context is not that of a request, which it may outlive.
			ctx, cancel := context.WithTimeout(ctx, l.timeout)
			defer cancel()
			return l.dial(ctx, "tcp")
		},
		TLSClientConfig:        l.tls,
		TLSHandshakeTimeout:    l.timeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: l.timeout, PingTimeout: l.timeout},
		DisableCompression:     true,
		MaxIdleConnsPerHost:    mostIdle,
		MaxConnsPerHost:        mostStreams,
		IdleConnTimeout:        idleFor,
		MaxResponseHeaderBytes: 16 << 10,
	}
	// The operator named the server: nobody is sent elsewhere.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &web{client: &http.Client{Transport: transport, CheckRedirect: stay}, url: l.String()}
}

// ask posts a query whose number is zero.
func (w *web) ask(ctx context.Context, q question, query []byte) (*answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(query))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", mediaType)
	request.Header.Set("Accept", mediaType)
	request.Header.Set("User-Agent", "")    // nobody's business
	request.Header["Idempotency-Key"] = nil // not sent: it may be repeated on a fresh connection
	response, err := w.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", response.StatusCode)
	}
	if t := response.Header.Get("Content-Type"); t != mediaType {
		return nil, fmt.Errorf("an answer of type %.40q, not %s", t, mediaType)
	}
	b, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxAnswer {
		return nil, fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	a, err := q.read(b, 0)
	if err == nil { // it may come from a cache of HTTP: RFC 8484 section 5.1
		age, _ := strconv.ParseUint(response.Header.Get("Age"), 10, 31)
		a.ttl -= time.Duration(age) * time.Second
	}
	return a, err
}
