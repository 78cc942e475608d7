package passage

import (
	"context"
	"net"
	"strconv"

	"viaduct/parent"
	"viaduct/probe"
)

// direct is the address of the passage that has none.
const direct = "direct"

// Probed is how checks go this way: by a connection of their own, from the
// address that the system chooses.
func (p *Passage) Probed() probe.Endpoint {
	if p.Direct() {
		return probe.Endpoint{Addr: direct, Tunnel: p.dialTarget}
	}
	return probe.Endpoint{Addr: authority(p.hops[0]), Dial: p.dialCheck, Tunnel: p.tunnelCheck}
}

// dialCheck dials the host of the first hop, perhaps at the port of an agent.
func (p *Passage) dialCheck(ctx context.Context, _, addr string) (net.Conn, error) {
	return p.dialAddr(ctx, addr)
}

func (p *Passage) dialTarget(ctx context.Context, target string) (net.Conn, error) {
	return p.dialAddr(ctx, target)
}

func (p *Passage) dialAddr(ctx context.Context, addr string) (net.Conn, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, err
	}
	nc, err := p.way.Load().dialer.Load().Connect(ctx, destination(parent.Proxy{Host: host, Port: uint16(port)}), nil)
	if err != nil {
		return nil, err
	}
	return nc, nil
}

// tunnelCheck drops what a canary says first: it is asked nothing, or for TLS.
func (p *Passage) tunnelCheck(ctx context.Context, target string) (net.Conn, error) {
	nc, _, err := p.way.Load().tunnel(ctx, nil, target, "")
	return nc, err
}

// Spared is a check for lists with direct in them: that has no address to be
// asked at, and only a canary can tell whether it leads anywhere. Where one is
// in the list, checks ask and do not watch.
type Spared struct{ Of probe.Check }

// Run implements health.Checker.
func (s Spared) Run(ctx context.Context, at probe.Endpoint) probe.Result {
	if at.Addr == direct && s.Of.Kind != probe.Connect {
		return probe.Result{Weight: -1, Limit: -1, Note: "no parent: nothing is asked"}
	}
	return s.Of.Run(ctx, at)
}

// Key implements health.Checker: it is the same check.
func (s Spared) Key() string { return s.Of.Key() }

// String is the check as the operator wrote it.
func (s Spared) String() string { return s.Of.String() }
