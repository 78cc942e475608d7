package forward

import (
	"slices"

	"viaduct/acl"
	"viaduct/hashing"
	"viaduct/hop"
	"viaduct/key"
	"viaduct/pool"
	"viaduct/wire"
)

// Out is a way out: a pool, or none.
type Out struct {
	Pool   *pool.Pool // nil: directly
	ByName bool       // its parents look names up; else we do, and ask for addresses
}

// out is the way that a request leaves by.
func (p *Proxy) out(q *acl.Query) Out {
	if p.o.Routes != nil {
		if i := p.o.Routes.Decide(q); i >= 0 {
			return p.o.Outs[i]
		}
	}
	return p.o.Out
}

// goesOut says whether a request leaves by a pool, ever: then it may come back.
func (p *Proxy) goesOut() bool {
	return p.o.Out.Pool != nil || slices.ContainsFunc(p.o.Outs, func(o Out) bool { return o.Pool != nil })
}

// leave prepares the way out of the present request.
func (c *Client) leave(r *wire.Head, v *Verdict) {
	way, out := &c.way, v.Out
	if way.Pool = out.Pool; out.Pool == nil {
		return
	}
	way.Via, way.ByName = c.via, out.ByName
	way.Key, way.Keyed = keyOf(out.Pool.Key(), &c.ask, r)
}

// turnedBack says whether a request has come through this proxy before, and finds
// what parents are told of its way so far.
func (c *Client) turnedBack(r *wire.Head) error {
	if !c.proxy.roams {
		return nil
	}
	c.via = c.proxy.via[r.Minor&1]
	if !r.Has(wire.Via) {
		return nil
	}
	var trail hop.Trail
	for i := range r.Fields {
		if r.Fields[i].ID == wire.Via {
			trail.Pass(r.Fields[i].Value)
		}
	}
	tag := c.proxy.o.Tag
	if err := trail.Check(tag); err != nil {
		return err
	}
	c.via = string(trail.AppendVia(nil, r.Minor, tag))
	return nil
}

// keyOf is the key of a request, for pools that choose by one. The head may be nil.
func keyOf(parts []hashing.Part, a *Ask, r *wire.Head) (uint64, bool) {
	if len(parts) == 0 {
		return 0, false
	}
	return key.Of(parts, &key.Request{Client: a.Client, User: a.User, Host: a.Host, Path: a.Path, Head: r})
}
