package upstream_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/clock"
	"viaduct/upstream"
)

// crowd takes and puts connections of a few destinations from many goroutines,
// and reports a connection that two have at once.
type crowd struct {
	t      *testing.T
	pool   *upstream.Idle
	dialer *upstream.Dialer
	port   uint16
	owned  sync.Map // *upstream.Conn -> true
	reused atomic.Int64
}

func (c *crowd) visit(rounds int) {
	for range rounds {
		o := c.pool.Origin(upstream.Destination{Host: string(rune('a'+rand.IntN(3))) + ".test", Port: c.port}, nil)
		conn := o.Take(c.dialer.Guard, time.Hour)
		if conn != nil {
			c.reused.Add(1)
		} else {
			var err error
			if conn, err = o.Dial(within(c.t, patience), c.dialer); err != nil {
				c.t.Errorf("dial: %v", err)
				o.Release()
				return
			}
		}
		c.use(conn)
		o.Release()
	}
}

func (c *crowd) use(conn *upstream.Conn) {
	if _, taken := c.owned.LoadOrStore(conn, true); taken {
		c.t.Error("a connection has two owners")
	}
	exchange(c.t, conn, false)
	c.owned.Delete(conn)
	conn.Put(clock.Now())
}

func (c *crowd) run(visitors, rounds int) {
	var wg sync.WaitGroup
	for range visitors {
		wg.Go(func() { c.visit(rounds) })
	}
	wg.Wait()
}

func TestEachConnectionHasOneOwner(t *testing.T) {
	h := scripted(t, fine)
	c := &crowd{t: t, pool: upstream.NewIdle(upstream.Options{}), port: h.port}
	c.dialer = &upstream.Dialer{Lookup: answers("127.0.0.1"), Guard: new(judge)}
	c.run(16, 200)
	if c.reused.Load() == 0 {
		t.Error("no connection was used twice")
	}
	c.pool.Close()
	if origins, idle := c.pool.Len(); origins != 0 || idle != 0 {
		t.Errorf("%d origins and %d idle connections are left", origins, idle)
	}
}

// Connections end their idle time while they are put, taken and put again.
func TestCountsSurviveAnIdleTimeThatRunsOut(t *testing.T) {
	h := scripted(t, fine)
	c := &crowd{t: t, port: h.port}
	c.pool = upstream.NewIdle(upstream.Options{IdleTimeout: 2 * time.Millisecond})
	c.dialer = &upstream.Dialer{Lookup: answers("127.0.0.1"), Guard: new(judge)}
	c.run(8, 150)
	poll(t, "all is forgotten", func() bool { origins, idle := c.pool.Len(); return origins == 0 && idle == 0 })
}

func TestPoolClosesWhileItIsUsed(t *testing.T) {
	h := scripted(t, fine)
	c := &crowd{t: t, pool: upstream.NewIdle(upstream.Options{}), port: h.port}
	c.dialer = &upstream.Dialer{Lookup: answers("127.0.0.1"), Guard: new(judge)}
	ended := make(chan struct{})
	go func() { defer close(ended); c.run(8, 100) }()
	for open := true; open; {
		select {
		case <-ended:
			open = false
		default:
			c.pool.Close()
		}
	}
	c.pool.Close()
	if origins, idle := c.pool.Len(); origins != 0 || idle != 0 {
		t.Errorf("%d origins and %d idle connections are left", origins, idle)
	}
}
