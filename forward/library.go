package forward

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"viaduct/acl"
	"viaduct/exchange"
	"viaduct/fault"
	"viaduct/filter"
	"viaduct/hop"
	"viaduct/metrics"
	"viaduct/mirror"
	"viaduct/wire"
)

// The library lane. A request that filters match is shown to a handler of net/http
// as it would come from that package's server: the head that wire has read, an
// http.ResponseWriter, and behind the handler something to send it to. What the
// handler changes goes back into the heads of the engine, which sends the request,
// and passes the answer on: framing, field order, bodies and limits are the same
// in both lanes.

// lane is what shows requests and answers to the filters.
type lane = http.Handler

// visit is a request in the library lane.
type visit struct {
	client  *Client
	filters filter.Set
	way     *exchange.Way
	path    []byte

	header  http.Header // of the answer
	status  int         // of the answer, once it is written
	asked   bool        // an answer of the origin waits to be passed on
	foreign bool        // a body was written that is not the origin's
	outcome *outcome    // a filter has ended the request
	err     error       // the way to the origin has
}

type (
	visitKey struct{}
	outcome  = filter.Outcome
)

func visitOf(r *http.Request) *visit { return r.Context().Value(visitKey{}).(*visit) }

// library has the request carried out by the library lane.
func (c *Client) library(filters filter.Set, target *hop.Target, path []byte) {
	v := &visit{client: c, filters: filters, way: &c.way, path: path}
	c.DropTrailers(v.editsRequest, v.editsAnswer)
	c.proxy.library.ServeHTTP(v, v.request(target))
	v.conclude()
}

// request is the request as net/http has it. Its URL is for looking at: what is
// sent is the path as it came.
func (v *visit) request(target *hop.Target) *http.Request {
	h := v.client.Request()
	at := mirror.URL(v.way.To.TLS, target, v.path)
	r := &http.Request{
		Method: string(h.Method), URL: at, Host: at.Host, RequestURI: string(h.Target),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
		Header: mirror.Header(h, v.dropRequest), ContentLength: max(h.Length, 0), RemoteAddr: v.client.Remote().String(),
	}
	if h.Chunked {
		r.ContentLength = -1
	}
	return r.WithContext(context.WithValue(context.Background(), visitKey{}, v))
}

// roundTrip sends the request, as the filters left it.
func (v *visit) roundTrip(r *http.Request) (*http.Response, error) {
	c := v.client
	mirror.Merge(c.Request(), r.Header, v.dropRequest)
	if v.err = c.Ask(v.way, v.path); v.err != nil {
		return nil, v.err
	}
	v.asked = true
	h := c.Answer()
	a := v.stub(r)
	a.StatusCode, a.Header, a.ContentLength = h.Status, mirror.Header(h, v.dropAnswer), h.Length
	return a, nil
}

// stub is an answer with nothing in it.
func (v *visit) stub(r *http.Request) *http.Response {
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: http.NoBody, Request: r,
	}
}

// Header implements http.ResponseWriter.
func (v *visit) Header() http.Header {
	if v.header == nil {
		v.header = http.Header{}
	}
	return v.header
}

// WriteHeader implements http.ResponseWriter.
func (v *visit) WriteHeader(status int) {
	if v.status == 0 {
		v.status = status
	}
}

var errForeign = errors.New("a body that is not the origin's")

// Write implements http.ResponseWriter. Nobody has something to write but the
// handler that tells of an error, which the client is told in our own words.
func (v *visit) Write([]byte) (int, error) {
	v.foreign = true
	return 0, errForeign
}

// conclude answers the client, now that the handler has seen all there is.
func (v *visit) conclude() {
	c, h := v.client, v.client.Answer()
	switch {
	case v.outcome != nil:
		if v.asked {
			c.Drop()
		}
		c.end(v.outcome)
	case v.err != nil:
		c.Fail(v.err)
	case v.asked && v.status == h.Status && !v.foreign:
		mirror.Merge(h, v.header, v.dropAnswer)
		c.Pass()
	default:
		if v.asked {
			c.Drop()
		}
		c.Refuse(fault.New(fault.InternalError, errForeign))
	}
}

// end answers as a filter wants it.
func (c *Client) end(o *outcome) {
	if o.Deny != nil {
		c.Refuse(c.proxy.refusal(o))
		return
	}
	c.proxy.countFilter(o, acl.Allow)
	r := Ruling{acl.Decision{Effect: acl.Allow, Rule: o.Name}, metrics.PhaseFilter}
	c.Decided(r.record())
	c.Reply(exchange.Reply{Status: o.Status, Type: o.Type, Location: o.Location, Body: o.Body})
}

// refusal is the denial of a filter, counted.
func (p *Proxy) refusal(o *outcome) error {
	p.countFilter(o, acl.Deny)
	return denial(o.Name, o.Deny, metrics.PhaseFilter).denied()
}

// overLong is what is wrong with a body that turns out to be longer than a filter
// lets pass.
func (c *Client) overLong(o *outcome) func() error {
	p := c.proxy
	return func() error { return p.refusal(o) }
}

// A handler is not shown the fields that are the engine's own, nor those that end
// at this hop. What a message is of it cannot hide by saying so.

func (v *visit) dropRequest(h *wire.Head, f *wire.Field) bool {
	return ends(h, f) || v.client.proxy.o.Exchange.Anonymity.DropRequest(f.Name)
}

func (v *visit) dropAnswer(h *wire.Head, f *wire.Field) bool {
	return ends(h, f) || v.client.proxy.o.Exchange.Anonymity.DropResponse(f.Name)
}

func ends(h *wire.Head, f *wire.Field) bool {
	return f.ID != wire.Other || h.Nominated(f) && !wire.Fold(f.Name, "content-type")
}

// A field that a filter changes in the head means nothing else behind the body.
func (v *visit) editsRequest(name []byte) bool { return v.filters.Edits(false, name) }
func (v *visit) editsAnswer(name []byte) bool  { return v.filters.Edits(true, name) }

// filtered names the filters for a request. They are shown what is known of it, and
// one that ends it by that alone is returned: no field and no body that it may have
// changes it.
func (x *examination) filtered(e *Explanation, filters filter.Set) *outcome {
	if len(filters) == 0 {
		return nil
	}
	r := &http.Request{Method: x.ask.Method, URL: mirror.URL(x.within, &x.target, x.ask.Path)}
	ended := filters.Request(r)
	e.Filters = filters.Names()
	if ended != nil { // what stands behind it sees nothing
		e.Filters = e.Filters[:slices.Index(e.Filters, ended.Name)+1]
	}
	if asking := filters.Conditional(); len(asking) > 0 {
		e.open("the type or the size of what is sent may end it before, by " + strings.Join(asking, ", "))
	}
	return ended
}
