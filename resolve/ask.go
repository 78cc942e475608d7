package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"viaduct/fault"
)

const (
	// stagger is when the next server is asked although the last one has not
	// failed, or the only one again: a query or its answer may be lost. It
	// doubles each time around.
	stagger = 400 * time.Millisecond

	defaultRounds = 3 // times that a server is asked, if it keeps silent
)

var errSilent = errors.New("no answer")

// group are servers that know the same names.
type group struct {
	conf
	links []*link
	first atomic.Uint32 // the one to ask first: it answered last, or it is its turn
}

func (r *Resolver) newGroup(c conf) *group {
	g := &group{conf: c}
	for _, s := range c.servers {
		g.links = append(g.links, newLink(s, r.options, g.timeout, r.system))
	}
	return g
}

// turns are the servers in the order in which they are asked.
func (g *group) turns() []int {
	n, first := len(g.links), int(g.first.Load())
	if g.rotate {
		first = int(g.first.Add(1))
	}
	turns := make([]int, n*g.rounds)
	for i := range turns {
		turns[i] = (first + i) % n
	}
	return turns
}

func (g *group) close() {
	for _, l := range g.links {
		l.close()
	}
}

// reply is how a try at a server ended.
type reply struct {
	from   int
	answer *answer
	err    error
}

// ask puts a question to the servers, one after another, until one of them
// gives a valid answer. That is final, NXDOMAIN too. Nil means that nobody
// wants to know any more.
func (r *Resolver) ask(ctx context.Context, g *group, q question) *answer {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	left := g.turns()
	replies := make(chan reply, len(left)) // those of the losers, too
	next := time.NewTimer(0)
	defer next.Stop()
	lost, ended := errSilent, ctx.Done()
	busy := make([]int, len(g.links)) // tries under way
	for started, pending := 0, 0; len(left) > 0 || pending > 0; {
		select {
		case <-next.C:
			if len(left) == 0 {
				continue
			}
			i := left[0]
			left = left[1:]
			if busy[i] > 0 && g.links[i].scheme != "udp" { // a stream loses nothing
				next.Reset(0)
				continue
			}
			r.tasks.Go(func() { replies <- r.try(ctx, g, i, q) })
			next.Reset(stagger << (started / len(g.links)))
			busy[i], started, pending = busy[i]+1, started+1, pending+1
		case last := <-replies:
			if last.err == nil {
				if !g.rotate {
					g.first.Store(uint32(last.from))
				}
				return last.answer
			}
			if errors.Is(lost, errSilent) {
				lost = last.err
			}
			pending, busy[last.from] = pending-1, busy[last.from]-1
			if _, network := errors.AsType[*net.OpError](last.err); !network { // it will say the same again
				left = slices.DeleteFunc(left, func(i int) bool { return i == last.from })
			}
			if started < len(g.links) {
				next.Reset(0) // no use in waiting
			}
		case <-ended: // the tries under way end, too
			left, ended = nil, nil
		}
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return nil
	case errors.Is(lost, errSilent):
		return failure(fault.DNSTimeout, q.name, lost)
	}
	return failure(fault.DNSError, q.name, lost)
}

// try asks one server once. A packet that somebody made to break the parser does
// not break the process.
func (r *Resolver) try(ctx context.Context, g *group, i int, q question) (last reply) {
	l := g.links[i]
	defer func() {
		if p := recover(); p != nil {
			last = reply{from: i, err: fmt.Errorf("ask %s: reading its answer broke off: %v", l, p)}
		}
	}()
	limited, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	r.queries.Add(1)
	a, err := l.ask(limited, q)
	if err == nil {
		if !a.isFound() {
			a.err = fault.New(fault.DNSError, fmt.Errorf("look up %s: %s from %s", q.name, a.verdict, l))
		}
		return reply{i, a, nil}
	}
	if limited.Err() != nil {
		err = errSilent
	}
	if !errors.Is(ctx.Err(), context.Canceled) { // another server was faster
		r.failures.Add(1)
	}
	return reply{i, nil, fmt.Errorf("ask %s: %w", l, err)}
}
