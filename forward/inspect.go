package forward

import (
	"net/http"

	"github.com/elazarl/goproxy"
)

// newLibrary makes the chain of the library lane: a goproxy that sees the heads
// of requests and answers, and lets the filters work on them. It dials nothing,
// reads and writes no connection, and takes nothing from the environment, which
// is why it does not come from goproxy's New. The bodies pass it by.
func newLibrary() lane {
	p := &goproxy.ProxyHttpServer{Logger: silence{}, KeepHeader: true, KeepAcceptEncoding: true}
	p.OnRequest().DoFunc(filterRequest)
	p.OnResponse().DoFunc(filterAnswer)
	return p
}

// silence is a logger: what there is to tell is in the access log.
type silence struct{}

func (silence) Printf(string, ...any) {}

func filterRequest(r *http.Request, ctx *goproxy.ProxyCtx) (*http.Request, *http.Response) {
	v := visitOf(r)
	ctx.RoundTripper = goproxy.RoundTripperFunc(func(r *http.Request, _ *goproxy.ProxyCtx) (*http.Response, error) {
		return v.roundTrip(r)
	})
	if v.outcome = v.filters.Request(r); v.outcome != nil {
		return r, v.stub(r)
	}
	if most, o := v.filters.RequestLimit(r); o != nil {
		v.client.BoundRequest(most, v.client.overLong(o))
	}
	return r, nil
}

func filterAnswer(a *http.Response, _ *goproxy.ProxyCtx) *http.Response {
	if a == nil {
		return nil
	}
	v := visitOf(a.Request)
	if !v.asked { // it is not an origin's
		return a
	}
	if v.outcome = v.filters.Answer(a); v.outcome != nil {
		return a
	}
	if most, o := v.filters.AnswerLimit(a); o != nil {
		v.client.BoundAnswer(most, v.client.overLong(o))
	}
	return a
}
