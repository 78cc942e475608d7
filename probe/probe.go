// Package probe asks an endpoint how it is: whether it takes connections,
// shows a good certificate, answers over HTTP or gRPC, opens a tunnel, and
// what its agent says of it.
//
// A Check is one definition of such a question, as plain data. Each run dials
// a connection of its own, is bounded by its context, trusts nothing that
// comes back, and leaves nothing behind. What the answers mean for traffic is
// for health.
package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// Kind is how a check asks.
type Kind uint8

// The kinds of checks.
const (
	TCP     Kind = iota // a connection opens; with Send and Expect: and it answers
	TLS                 // a verified handshake
	HTTP                // an answer over HTTP/1.1
	GRPC                // grpc.health.v1, over HTTP/2
	Connect             // a tunnel through the endpoint, which is a parent proxy
	Agent               // what the endpoint's agent says of it
	None                // nothing is asked: every run passes
)

// String is the kind as Parse reads it.
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Check is one definition of a question. The zero value asks whether a TCP
// connection opens. It is safe for concurrent use.
type Check struct {
	Kind Kind
	Host string // name for SNI, Host and :authority; "" is the endpoint's own
	Port uint16 // another port than the endpoint's; 0 is its own

	Path   string   // HTTP: with its query, "" is "/". Agent: "" is the word protocol over TCP, a path is JSON over HTTP
	Method string   // HTTP: "" is GET
	Status string   // HTTP: numbers and ranges with commas; "" is "200-399"
	Body   string   // HTTP: regular expression that the first 64 KiB must match; "" takes any
	Fields []string // HTTP, Agent over HTTP: "Name: value", sent

	Send   string // TCP, Agent: written first
	Expect string // TCP: text that must come within the first 64 KiB; "" waits for none

	Service string // GRPC: of grpc.health.v1; "" is the whole server
	Watch   bool   // GRPC: the caller should use WatchRun. Run asks once all the same

	Target string // Connect: host:port of the canary

	TLS     *tls.Config   // nil: the system's roots
	Secure  bool          // HTTP, GRPC, Agent: over TLS. Connect: TLS with the canary, inside the tunnel
	Timeout time.Duration // of WatchRun until its first word; 0 is 5 s. Run has its context
}

// Endpoint is what is asked.
type Endpoint struct {
	Addr   string                                                            // host:port, "unix:///path" or a path that begins with "/"
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the system's
	Tunnel func(ctx context.Context, target string) (net.Conn, error)        // through this parent; Connect needs it
}

// Word is what an endpoint says of itself, in so many words. They are in order:
// of several in one answer the last of this list counts.
type Word uint8

// The words. A Result that says Down or Stopped has failed; Drain and Maint are
// wishes of an endpoint that works.
const (
	NoWord Word = iota
	SaysUp
	SaysReady // ends what Drain and Maint began
	SaysDrain
	SaysDown
	SaysStopped
	SaysMaint
)

// String is the word as agents write it, "" for none.
func (w Word) String() string {
	return [...]string{NoWord: "", SaysUp: "up", SaysReady: "ready", SaysDrain: "drain", SaysDown: "down", SaysStopped: "stopped", SaysMaint: "maint"}[w]
}

// Result is how one check ended.
type Result struct {
	Err    error         // nil: passed. fault.Classify knows what it is
	Word   Word          // of GRPC and Agent; NoWord when it said none
	Weight int           // of Agent: percent of the configured weight; -1 when it said none
	Limit  int           // of Agent: requests at a time, 0 is no limit; -1 when it said none
	Note   string        // for the operator: "503 Service Unavailable"; printable, short, may be ""
	Took   time.Duration // of WatchRun always 0
}

// Run asks once. It returns when ctx ends, at the latest; the connection is
// closed by then.
func (c Check) Run(ctx context.Context, e Endpoint) Result {
	begun := time.Now()
	r := Result{Weight: -1, Limit: -1}
	if r.Err = c.Validate(); r.Err == nil {
		r.Err = c.ask(ctx, e, &r)
	}
	if r.Err == nil && c.Kind != None {
		r.Err = context.Cause(ctx) // whatever came, came too late
	}
	r.Took = time.Since(begun)
	return r
}

func (c Check) ask(ctx context.Context, e Endpoint, r *Result) error {
	switch c.Kind {
	case TCP:
		return c.askTCP(ctx, e)
	case TLS:
		return c.askTLS(ctx, e, r)
	case HTTP:
		return c.askHTTP(ctx, e, r)
	case GRPC:
		return c.askGRPC(ctx, e, r)
	case Connect:
		return c.askTunnel(ctx, e, r)
	case Agent:
		return c.askAgent(ctx, e, r)
	}
	return nil
}

// askTLS makes a handshake. A server that wants a certificate of ours may
// refuse it later than this (TLS 1.3): ask over HTTP where that matters.
func (c Check) askTLS(ctx context.Context, e Endpoint, r *Result) error {
	c.Secure = true
	l, err := c.open(ctx, e)
	if err != nil {
		return err
	}
	defer l.close()
	r.Note = join(tls.VersionName(l.tls.Version), c.expiry(l.tls))
	return nil
}

// askTunnel wants a tunnel to the canary, which is more than a parent that
// takes connections can promise.
func (c Check) askTunnel(ctx context.Context, e Endpoint, r *Result) error {
	if e.Tunnel == nil {
		return errors.New("this endpoint opens no tunnels: use connect only for parent proxies")
	}
	nc, err := e.Tunnel(ctx, c.Target)
	if err != nil {
		return both(overdue(ctx, err), err)
	}
	l := hold(ctx, nc)
	defer l.close()
	if !c.Secure {
		return nil
	}
	if err := l.secure(ctx, c.config(bareHost(cmp.Or(c.Host, c.Target)))); err != nil {
		return fmt.Errorf("%s through the tunnel: %w", c.Target, err)
	}
	r.Note = c.expiry(l.tls)
	return nil
}

// both is why something was late, and what broke by it.
func both(late, err error) error {
	if errors.Is(err, late) {
		return err
	}
	return fmt.Errorf("%w: %w", late, err)
}
