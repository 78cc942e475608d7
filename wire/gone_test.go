package wire_test

import (
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"viaduct/clock"
	"viaduct/wire"
)

// TestGoneClientStaysGone: a wait that goes on, as a body's does, does not
// bring a client back that was found to have left.
func TestGoneClientStaysGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := piped(t)
		gone := 0
		c.OnGone(func() { gone++ })
		c.BeginWait(clock.Now(), time.Hour)
		c.Cut()
		c.BeginWait(clock.Now(), time.Hour)
		if c.EndWait() || gone != 1 {
			t.Errorf("the client is there again; gone %d times", gone)
		}
	})
}

// TestCutBetweenTwoWaits: a client that was cut while nobody waited is gone as
// soon as somebody does.
func TestCutBetweenTwoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := piped(t)
		var gone atomic.Int32
		c.OnGone(func() { gone.Add(1) })
		c.Cut()
		c.BeginWait(clock.Now(), time.Hour)
		if elapse(time.Minute); gone.Load() != 1 || c.EndWait() {
			t.Errorf("gone %d times", gone.Load())
		}
	})
}

// held is a connection that can be held up in what its clock asks of it.
type held struct {
	script
	watched     atomic.Bool
	asked, goOn chan struct{}
}

func newHeld() *held { return &held{asked: make(chan struct{}, 10), goOn: make(chan struct{})} }

func (h *held) NetConn() net.Conn {
	if h.watched.Load() { // by a clock, which looks below, as Conn has done before
		h.asked <- struct{}{}
		<-h.goOn
	}
	return &h.script
}

func (h *held) SetDeadline(time.Time) error {
	h.NetConn()
	return nil
}

// watch has everything held up from here on.
func (h *held) watch(c *wire.Conn) *wire.Conn {
	h.watched.Store(true)
	return c
}

func (h *held) SetReadDeadline(t time.Time) error { return h.SetDeadline(t) }

// TestClockAtWorkIsNotReleased: its timer has fired, and has not ended yet,
// whether or not it was armed again meanwhile.
func TestClockAtWorkIsNotReleased(t *testing.T) {
	for _, again := range []bool{false, true} {
		nc := newHeld()
		c := nc.watch(wire.New(nc, maxHead))
		c.OnGone(func() {})
		c.BeginWait(clock.Now(), time.Hour)
		receive(t, "the clock looks after the client", nc.asked)
		c.EndWait()
		if again {
			c.LimitWrite(clock.Now(), time.Hour)
		}
		if c.Stop(); c.Released() {
			t.Errorf("released while its timer is at work; armed again: %v", again)
		}
		close(nc.goOn)
	}
}

// TestShorterLimitIsNotLostToALonger that is set at the same time.
func TestShorterLimitIsNotLostToALonger(t *testing.T) {
	nc := newHeld()
	c := nc.watch(wire.New(nc, maxHead))
	go c.Abort() // holds the clock up
	receive(t, "the deadline of Abort", nc.asked)
	ready := make(chan struct{}, 2)
	limit := func(set func(now, d time.Duration), d time.Duration) {
		go func() {
			ready <- struct{}{}
			set(clock.Now(), d)
		}()
		receive(t, "the other goroutine", ready)
		elapse(50 * time.Millisecond) // so that they wait in this order
	}
	limit(c.LimitRead, 200*time.Millisecond)
	limit(c.LimitWrite, time.Hour)
	close(nc.goOn)
	receive(t, "the deadline of the shorter limit", nc.asked)
	c.Close()
}

// TestLimitAfterLimitHolds though the timer fires as soon as it is armed.
func TestLimitAfterLimitHolds(t *testing.T) {
	c := open(t, &script{})
	for i := range 300 {
		c.LimitRead(clock.Now(), time.Nanosecond)
		poll(t, "limit "+strconv.Itoa(i)+" holds", c.Aborted)
		c.Revive()
	}
}
