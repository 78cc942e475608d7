package auth

import (
	"context"
	"net/netip"
)

// flight verifies credentials for all requests of a client that wait for it: a
// client that opens a hundred connections costs one hash. Not for those of other
// clients: they must not suffer from its failures.
type flight struct {
	cancel  context.CancelFunc
	landed  chan struct{} // closed when id and err are there
	id      *Identity
	err     error
	rank    rank
	waiters int // guarded by Gate.mu
}

// route is what makes two flights the same. The client is what counts as one.
type route struct {
	mac    mac
	client netip.Addr
}

// verify waits for a flight with the credentials.
func (g *Gate) verify(ctx context.Context, k *mac, c *Credentials, known bool) (*Identity, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r, rank := route{*k, source(c.Client)}, proven
	if !known {
		spent, stained := g.memory.failures.look(r.client, c.User, g.memory.now())
		if spent {
			return nil, ErrThrottled
		}
		if rank = fresh; stained {
			rank = suspected
		}
	}
	f := g.board(r, c, rank)
	if f == nil {
		return nil, ErrBusy
	}
	select {
	case <-f.landed:
		return f.id, f.err
	case <-ctx.Done():
		g.leave(r, f)
		return nil, ctx.Err()
	}
}

// board joins a flight, or lets one depart. It returns nil if there are too many.
func (g *Gate) board(r route, c *Credentials, rank rank) *flight {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.flights[r]; f != nil {
		f.waiters++
		return f
	}
	if rank == fresh && g.flying[r.client] > 0 {
		rank = suspected
	}
	most := [...]int{suspected: mostSuspected, fresh: mostFlights, proven: 2 * mostFlights}[rank]
	if len(g.flights) >= most || rank != proven && g.flying[r.client] >= mostOfClient {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background()) // not the request's, which it may outlive
	f := &flight{cancel: cancel, landed: make(chan struct{}), rank: rank, waiters: 1}
	g.flights[r] = f
	g.flying[r.client]++
	go g.fly(ctx, r, f, c)
	return f
}

// fly is the goroutine of a flight.
func (g *Gate) fly(ctx context.Context, r route, f *flight, c *Credentials) {
	defer f.cancel()
	defer close(f.landed)
	f.id, f.err = g.verified(ctx, &r.mac, c, f.rank)
	g.mu.Lock() // and nobody boards what has landed: it may be old news soon
	defer g.mu.Unlock()
	g.abandon(r, f)
	if g.flying[r.client]--; g.flying[r.client] == 0 {
		delete(g.flying, r.client)
	}
}

// leave takes a waiter out of a flight, which ends with the last one.
func (g *Gate) leave(r route, f *flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		g.abandon(r, f)
		f.cancel()
	}
}

// abandon keeps others from boarding. The caller holds g.mu.
func (g *Gate) abandon(r route, f *flight) {
	if g.flights[r] == f {
		delete(g.flights, r)
	}
}
