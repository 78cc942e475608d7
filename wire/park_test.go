package wire_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"viaduct/clock"
	"viaduct/wire"
)

// isClosed tells whether the other side has ended.
func isClosed(far net.Conn) bool {
	far.SetReadDeadline(time.Now())
	_, err := far.Read(make([]byte, 1))
	return err != nil && !isDeadline(err)
}

func TestParkedConnectionIsClosedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := piped(t)
		var idle atomic.Int32
		c.OnIdle(func() { idle.Add(1) })
		c.LimitWrite(clock.Now(), time.Minute) // of what was before
		c.Park(clock.Now(), time.Hour)
		if elapse(59 * time.Minute); idle.Load() != 0 || isClosed(far) {
			t.Error("closed before its time")
		}
		if elapse(2 * time.Minute); idle.Load() != 1 || !isClosed(far) {
			t.Errorf("idle %d times, closed %v", idle.Load(), isClosed(far))
		}
		if c.Unpark() || c.Discard() {
			t.Error("taken after it was closed")
		}
		if elapse(time.Hour); idle.Load() != 1 {
			t.Errorf("idle %d times", idle.Load())
		}
	})
}

func TestUnparkedConnectionStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := piped(t)
		c.OnIdle(func() { t.Error("idle") })
		c.Park(clock.Now(), time.Minute)
		elapse(30 * time.Second)
		if !c.Unpark() || c.Unpark() || c.Discard() {
			t.Error("not unparked once")
		}
		c.LimitRead(clock.Now(), 2*time.Hour)
		if elapse(time.Hour); c.Aborted() || isClosed(far) {
			t.Error("its idle time passed though it is in use")
		}
		ends(t, c, time.Hour)
	})
}

func TestParkedWithoutLimitStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := piped(t)
		c.LimitRead(clock.Now(), time.Minute)
		c.Park(clock.Now(), 0)
		if elapse(time.Hour); isClosed(far) || c.Aborted() || !c.Unpark() {
			t.Error("closed")
		}
	})
}

func TestDiscardedConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := piped(t)
		c.OnIdle(func() { t.Error("idle") })
		if c.Discard() {
			t.Error("discarded while in use")
		}
		c.Park(clock.Now(), time.Hour)
		if !c.Discard() || c.Discard() || c.Unpark() || !isClosed(far) {
			t.Error("not discarded once")
		}
		elapse(2 * time.Hour)
	})
}

// TestAwaitEndsWhenNobodyComes: the connection is closed after its idle time,
// or by Discard, and not while a request is there.
func TestAwaitEndsWhenNobodyComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := piped(t)
		takes(t, time.Hour, func() {
			if err := c.Await(time.Hour); err != io.EOF {
				t.Error(err)
			}
		})
		if !isClosed(far) {
			t.Error("the client's connection is open")
		}
	})
	for name, nc := range map[string]func(*testing.T) (net.Conn, net.Conn){
		"socket": func(t *testing.T) (net.Conn, net.Conn) { return loopback(t) },
		"TLS":    func(t *testing.T) (net.Conn, net.Conn) { return tlsPair(t) },
	} {
		t.Run(name, func(t *testing.T) {
			near, far := nc(t)
			c := open(t, near)
			ended := make(chan error)
			go func() { ended <- c.Await(time.Hour) }()
			poll(t, "it is parked and discarded", c.Discard)
			if err := receive(t, "Await", ended); err != io.EOF {
				t.Error(err)
			}
			far.SetReadDeadline(time.Now().Add(patience))
			if _, err := far.Read(make([]byte, 1)); err == nil || isDeadline(err) {
				t.Error(err)
			}
		})
	}
}

// TestArrivedRequestIsNotDiscarded, if only the quiet are to be.
func TestArrivedRequestIsNotDiscarded(t *testing.T) {
	near, far := loopback(t)
	c := bounded(t, near)
	if c.DiscardQuiet() {
		t.Error("discarded while in use")
	}
	c.Park(clock.Now(), time.Hour)
	send(t, far, question)
	poll(t, "the request arrives", func() bool { return !c.Clean() })
	if c.DiscardQuiet() || !c.Unpark() {
		t.Error("discarded with a request in it")
	}
	var h wire.Head
	if m := readRequest(c, &h); m.err != nil {
		t.Error(m.err)
	}
	c.Release()
	c.Park(clock.Now(), time.Hour)
	if !c.DiscardQuiet() || c.DiscardQuiet() || c.Unpark() {
		t.Error("not discarded once")
	}
	p, _ := net.Pipe()
	memory := open(t, p)
	memory.Park(clock.Now(), time.Hour)
	if !memory.DiscardQuiet() {
		t.Error("not discarded, though nothing can be told of it")
	}
}

func TestPipelinedRequestIsNotDiscarded(t *testing.T) {
	near, far := loopback(t)
	send(t, far, question+question)
	c := bounded(t, near)
	var h wire.Head
	if m := readRequest(c, &h); m.err != nil {
		t.Fatal(m.err)
	}
	if err := c.Await(time.Hour); err != nil || c.Discard() {
		t.Errorf("discarded with a request in it, %v", err)
	}
}

// TestParkedConnectionHasOneEnd: whoever comes at the same time, one unparks
// it, or one closes it.
func TestParkedConnectionHasOneEnd(t *testing.T) {
	for i := range 2000 {
		near, far := net.Pipe()
		c := wire.New(near, maxHead)
		var unparked, discarded, idle atomic.Int32
		c.OnIdle(func() { idle.Add(1) })
		// Now and then its time is over just then.
		c.Park(clock.Now(), []time.Duration{time.Hour, time.Nanosecond, 20 * time.Microsecond}[i%3])
		start := make(chan struct{})
		var wg sync.WaitGroup
		for user := range 6 {
			wg.Go(func() {
				<-start
				switch {
				case user%2 == 0 && c.Unpark():
					unparked.Add(1)
				case user%2 == 1 && c.Discard():
					discarded.Add(1)
				}
			})
		}
		close(start)
		wg.Wait()
		poll(t, "its end is told", func() bool { return unparked.Load()+discarded.Load()+idle.Load() > 0 })
		if n := unparked.Load() + discarded.Load() + idle.Load(); n != 1 {
			t.Fatalf("unparked by %d, discarded by %d, idle %d", unparked.Load(), discarded.Load(), idle.Load())
		}
		if open := !isClosed(far); open != (unparked.Load() == 1) {
			t.Fatalf("open %v, unparked by %d", open, unparked.Load())
		}
		c.Close()
		far.Close()
	}
}

// TestAwaitAndDiscardAtOnce: a request that comes just when its connection is
// discarded is served, or its connection is closed; not both.
func TestAwaitAndDiscardAtOnce(t *testing.T) {
	for i := range 300 {
		near, far := loopback(t)
		c := bounded(t, near)
		ended := make(chan error)
		go func() { ended <- c.Await(patience) }()
		if i%2 == 0 {
			send(t, far, question)
		}
		discarded := make(chan bool)
		go func() { discarded <- c.Discard() }()
		if i%2 == 1 {
			send(t, far, question)
		}
		err, gone := receive(t, "Await", ended), receive(t, "Discard", discarded)
		if gone != errors.Is(err, io.EOF) || !gone && err != nil {
			t.Fatalf("discarded %v, %v", gone, err)
		}
		c.Drop()
		c.Close()
		far.Close()
	}
}
