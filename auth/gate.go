package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

const (
	defaultTTL    = 5 * time.Minute
	mostAsked     = 64              // questions at a time to another machine
	mostFlights   = 256             // credentials that are verified or wait for it
	mostSuspected = mostFlights / 2 // where those end that are suspected: a crowd leaves room for others
	mostOfClient  = 40              // of one client
)

// Options make a Gate.
type Options struct {
	Verifier Verifier
	Memory   *Memory       // nil: one of its own, which ends with the gate
	Name     string        // of the Verifier in the Memory, which remembers credentials by it
	TTL      time.Duration // how long verified credentials are believed, those of Users since they were last used; 0 means 5 minutes
	Parallel int           // verifications at a time; 0: 64 for an External, and for hashes GOMAXPROCS/4, at least 1, over all gates of the Memory. A few more for those that were right before
	Failed   func(Failure) // told of wrong credentials, as often as the throttle lets a client try; may be nil. Nobody but who showed them waits for it
}

// Failure is told of wrong credentials, and of those that were not found right in
// time. Overlong ones are told to nobody: they are no guess.
type Failure struct {
	Client netip.Addr
	User   string // as the client wrote it
	Last   bool   // the client is throttled from now on
}

// Gate admits those whom its Verifier knows. Safe for concurrent use.
type Gate struct {
	verifier Verifier
	memory   *Memory
	slots    slots
	far      bool // verifying is work for another machine, which may judge the client's address, too
	key      [sha256.Size]byte
	ttl      time.Duration
	failed   func(Failure)

	mu      sync.Mutex // guards flights, waiters in them, and flying
	flights map[route]*flight
	flying  map[netip.Addr]int // flights of a client, those included that nobody waits for any more
}

// NewGate makes a Gate. It starts nothing.
func NewGate(o Options) *Gate {
	g := &Gate{
		verifier: o.Verifier, memory: o.Memory, ttl: cmp.Or(o.TTL, defaultTTL), failed: o.Failed,
		flights: make(map[route]*flight), flying: make(map[netip.Addr]int),
	}
	if g.memory == nil {
		g.memory = NewMemory()
	}
	g.key = sha256.Sum256(append(g.memory.key[:len(g.memory.key):len(g.memory.key)], o.Name...))
	_, far := o.Verifier.(*External)
	g.far = far
	switch {
	case o.Parallel > 0:
		g.slots = newSlots(o.Parallel)
	case far:
		g.slots = newSlots(mostAsked)
	default:
		g.slots = g.memory.hashing
	}
	if g.failed == nil {
		g.failed = func(Failure) {}
	}
	return g
}

// Challenge is the value of Proxy-Authenticate (RFC 7617 sections 2 and 2.1).
func (g *Gate) Challenge() string { return `Basic realm="viaduct", charset="UTF-8"` }

// Admit says who asks, by the value of Proxy-Authorization, which is nil when it
// is missing. It returns an error of this package, or that of ctx. Credentials
// that were verified before cost no allocation and no wait.
func (g *Gate) Admit(ctx context.Context, client netip.Addr, field []byte) (*Identity, error) {
	token, err := basic(field)
	if err != nil {
		return nil, err
	}
	if len(token) > longest {
		return nil, g.refuse(client)
	}
	k := g.mac(client, token)
	id, known := g.memory.find(&k, g.verifier, g.ttl)
	if id != nil {
		return id, nil
	}
	user, password, err := decode(token)
	if err != nil {
		return nil, err
	}
	return g.verify(ctx, &k, &Credentials{Scheme: "basic", User: user, Password: password, Client: client}, known)
}

// Recall is what Admit does first: it returns who was verified before, and waits
// for nothing. Without it only Admit can tell what the credentials are.
func (g *Gate) Recall(client netip.Addr, field []byte) (*Identity, bool) {
	token, err := basic(field)
	if err != nil || len(token) > longest {
		return nil, false
	}
	k := g.mac(client, token)
	id, _ := g.memory.find(&k, g.verifier, g.ttl)
	return id, id != nil
}

// Still says whether somebody who was admitted would be again, and returns the
// identity with its groups of today. It neither waits nor hashes.
func (g *Gate) Still(id *Identity) (*Identity, bool) { return g.verifier.Still(id) }

// mac is made of what is left of a field when scheme and spaces are off: they
// can be written in many ways, and nobody shall fill the Memory with them. What a
// service said of one address it said of no other.
func (g *Gate) mac(client netip.Addr, token []byte) mac {
	var b [sha256.Size + 16 + longest]byte
	n := copy(b[:], g.key[:])
	if g.far {
		from := client.As16() // the same for both forms of IPv4, and without a zone
		n += copy(b[n:], from[:])
	}
	n += copy(b[n:], token)
	return sha256.Sum256(b[:n])
}

// refuse counts overlong credentials as wrong, unread.
func (g *Gate) refuse(client netip.Addr) error {
	if ok, _ := g.memory.failures.take(source(client), "", g.memory.now()); !ok {
		return ErrThrottled
	}
	return ErrWrong
}

// verified finds out, when it is the credentials' turn. The operator is told of a
// failure when the slot is free again: a log that is slow keeps nobody waiting.
func (g *Gate) verified(ctx context.Context, k *mac, c *Credentials, r rank) (*Identity, error) {
	id, failed, err := g.inTurn(ctx, k, c, r)
	if failed != nil {
		g.failed(*failed)
	}
	return id, err
}

// inTurn holds a slot while it finds out.
func (g *Gate) inTurn(ctx context.Context, k *mac, c *Credentials, r rank) (*Identity, *Failure, error) {
	slot, err := g.slots.take(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	defer func() { <-slot }()
	if id, _ := g.memory.find(k, g.verifier, g.ttl); id != nil {
		return id, nil, nil // it was found out meanwhile
	}
	failed := &Failure{Client: c.Client, User: c.User}
	if r != proven {
		var ok bool
		if ok, failed.Last = g.memory.failures.take(source(c.Client), c.User, g.memory.now()); !ok {
			return nil, nil, ErrThrottled
		}
	}
	id, err := g.ask(ctx, c)
	if errors.Is(err, ErrWrong) {
		if r == proven {
			g.memory.forget(k)
			_, failed.Last = g.memory.failures.take(source(c.Client), c.User, g.memory.now())
		}
		return nil, failed, ErrWrong
	}
	switch {
	case r == proven:
		failed = nil
	case !isLate(err):
		g.memory.failures.giveBack(source(c.Client), c.User)
		failed = nil
	}
	if err != nil {
		return nil, failed, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	g.memory.keep(k, id)
	return id, nil, nil
}

// isLate tells whether an answer did not come in time, or nobody waited for it.
// That counts as a failure: where a no takes longer than a yes, a guesser who sees
// none come knows enough, and would have guesses without end.
func isLate(err error) bool {
	for _, late := range []error{context.DeadlineExceeded, context.Canceled, os.ErrDeadlineExceeded} {
		if errors.Is(err, late) {
			return true
		}
	}
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// ask asks the Verifier; if that is work for this machine, behind all other work.
func (g *Gate) ask(ctx context.Context, c *Credentials) (*Identity, error) {
	if g.far {
		return g.askHere(ctx, c)
	}
	answer := make(chan told, 1)
	go g.askAside(ctx, c, answer)
	t := <-answer
	return t.id, t.err
}

// told is what the Verifier says.
type told struct {
	id  *Identity
	err error
}

// askAside is the goroutine of a hash. Nothing else is done at its rank: neither
// a lock nor a client waits for a thread that stands back.
func (g *Gate) askAside(ctx context.Context, c *Credentials, to chan<- told) {
	stepAside()
	id, err := g.askHere(ctx, c)
	to <- told{id, err}
}

// askHere asks the Verifier, and makes an error of its panic: a hash that somebody
// made to break a library does not break the process.
func (g *Gate) askHere(ctx context.Context, c *Credentials) (id *Identity, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			id, err = nil, fmt.Errorf("verifying broke off: %v\n%s", reason, debug.Stack())
		}
	}()
	id, err = g.verifier.Verify(ctx, c)
	if err == nil && (id == nil || id.User == "") {
		return nil, errors.New("the credentials are right, but nobody's")
	}
	return id, err
}
