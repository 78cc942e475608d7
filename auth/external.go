package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	defaultTimeout = 2 * time.Second
	mostHead       = 16 << 10
	mostBody       = 4 << 10                // read, so that the connection serves again
	slowBody       = 100 * time.Millisecond // longer it is not waited for
	idleFor        = 30 * time.Second
)

// ExternalOptions make an External.
type ExternalOptions struct {
	URL     string         // http or https
	Timeout time.Duration  // of one question; 0 means 2s
	RootCAs *x509.CertPool // nil: the system's
}

// External asks a service of the operator's by HTTP. A Verifier.
//
// The question is GET with the credentials of the client as Authorization, and
// its address as X-Forwarded-For. The answer is the status: 2xx is yes, 401, 403
// and 407 are no, and anything else could not tell. With a yes may come
// Remote-User, which is the name from then on, and Remote-Groups, divided by
// commas.
type External struct {
	url     string
	timeout time.Duration
	client  *http.Client
	proof   proof
}

// NewExternal makes an External. It asks nothing yet.
func NewExternal(o ExternalOptions) *External {
	timeout := cmp.Or(o.Timeout, defaultTimeout)
	transport := &http.Transport{ // no proxy: nothing comes from the environment
		TLSClientConfig:        &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    timeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    mostAsked,
		IdleConnTimeout:        idleFor,
		MaxResponseHeaderBytes: mostHead,
	}
	// The operator named the service: credentials are sent to nobody else.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &External{
		url: o.URL, timeout: timeout, proof: sha256.Sum256([]byte("external " + o.URL)),
		client: &http.Client{Transport: transport, CheckRedirect: stay},
	}
}

// Verify asks the service.
func (e *External) Verify(ctx context.Context, c *Credentials) (*Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url, http.NoBody)
	if err != nil {
		return nil, errors.New("ask who it is: the address of the service is no URL")
	}
	q.SetBasicAuth(c.User, c.Password) // written anew: what was read is what is asked
	q.Header.Set("User-Agent", "")
	if c.Client.IsValid() {
		q.Header.Set("X-Forwarded-For", c.Client.Unmap().WithZone("").String())
	}
	a, err := e.client.Do(q)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err // it would repeat the query of the URL, where a key may be
		}
		if late := ctx.Err(); late != nil {
			err = late // whatever it broke
		}
		return nil, fmt.Errorf("ask %s: %w", q.URL.Host, err)
	}
	defer a.Body.Close()
	finish(a.Body, cancel)
	switch {
	case a.StatusCode >= 200 && a.StatusCode < 300:
	case a.StatusCode == http.StatusUnauthorized, a.StatusCode == http.StatusForbidden, a.StatusCode == http.StatusProxyAuthRequired:
		return nil, ErrWrong
	default:
		return nil, fmt.Errorf("ask %s: status %d", q.URL.Host, a.StatusCode)
	}
	id, err := e.identity(c, a.Header)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", q.URL.Host, err)
	}
	return id, nil
}

// finish reads a short body to its end. One that is long or slow costs the
// connection, not the answer, which stands in the status.
func finish(body io.Reader, cancel context.CancelFunc) {
	late := time.AfterFunc(slowBody, cancel)
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, body, mostBody)
}

// identity is who the service says it is. A name that could break a log or a
// rule is no answer.
func (e *External) identity(c *Credentials, h http.Header) (*Identity, error) {
	id := &Identity{User: c.User, proof: e.proof}
	if names := h.Values("Remote-User"); len(names) > 0 {
		id.User = names[0]
		if len(names) > 1 {
			return nil, errors.New("its answer has more than one Remote-User")
		}
	}
	if id.User == "" {
		return nil, errors.New("its answer names no user")
	}
	for _, line := range h.Values("Remote-Groups") {
		for group := range strings.SplitSeq(line, ",") {
			if group = strings.Trim(group, blank); group != "" {
				id.Groups = append(id.Groups, group)
			}
		}
	}
	for _, name := range append(id.Groups, id.User) {
		if !isText(name) || len(name) > longName {
			return nil, errors.New("its answer has a name that is none: a control character, not UTF-8 or too long")
		}
	}
	id.Groups = sorted(id.Groups)
	return id, nil
}

// Still says whether the identity came from this service. It does not know more
// than it did.
func (e *External) Still(id *Identity) (*Identity, bool) {
	if id == nil || id.proof != e.proof {
		return nil, false
	}
	return id, true
}

// Close closes idle connections, which else end by themselves after a while.
func (e *External) Close() { e.client.CloseIdleConnections() }
