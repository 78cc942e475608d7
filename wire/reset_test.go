package wire_test

import (
	"testing"
	"testing/synctest"
	"time"

	"viaduct/clock"
	"viaduct/wire"
)

// TestResetConnectionIsAsNew: nothing of the connection before is left.
func TestResetConnectionIsAsNew(t *testing.T) {
	near, far := loopback(t)
	c := wire.New(near, maxHead)
	var h wire.Head
	for _, in := range []string{
		question,                            // served
		sized("5", "abc"),                   // left within its body
		chunkedHead + "0\r\nX: y\r\n\r\nGE", // with a trailer, and left within the next
		"\r\nGE",
	} {
		send(t, far, in)
		far.CloseWrite()
		for m := readRequest(c, &h); m.err == nil; m = readRequest(c, &h) {
			continue
		}
		c.LimitRead(clock.Now(), time.Hour)
		c.Sending(true)
		c.Abort()
		c.Drop()
		if nc := c.Detach(); !c.Released() || nc.Close() != nil {
			t.Fatal("not released")
		}
		near, far = loopback(t)
		c.Reset(near, 1<<16)
		if c.Used() || c.Aborted() || c.Buffered() != 0 || c.Trailer() != nil || c.NetConn() != near {
			t.Errorf("after %q: used %v, aborted %v, %d bytes, %d trailer fields", in, c.Used(), c.Aborted(), c.Buffered(), len(c.Trailer()))
		}
		go answers(far)
		if err := ask(c, &h, false); err != nil {
			t.Errorf("after %q: %v", in, err)
		}
		c.Drop()
		c.Close()
		near, far = loopback(t)
		c.Reset(near, 1<<16)
	}
	c.Close()
}

// TestResetClockForgetsItsLimits: what was limited before is not, and new
// limits hold.
func TestResetClockForgetsItsLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := piped(t)
		c.OnGone(func() { t.Error("gone") })
		c.OnIdle(func() { t.Error("idle") })
		for i := range 4 {
			c.Revive()
			c.LimitRead(clock.Now(), time.Minute)
			c.LimitWrite(clock.Now(), time.Minute)
			switch i {
			case 0:
				c.Park(clock.Now(), time.Minute)
			case 1:
				c.BeginWait(clock.Now(), time.Minute)
			case 2:
				c.Abort()
			}
			if c.Detach(); !c.Released() {
				t.Fatal("not released")
			}
			other, _ := piped(t)
			c.Reset(other.NetConn(), 1<<16)
			if c.EndWait() || c.Unpark() || c.Discard() {
				t.Errorf("%d: in a state of before", i)
			}
			if elapse(time.Hour); c.Aborted() {
				t.Errorf("%d: aborted by a limit of before", i)
			}
			c.LimitRead(clock.Now(), time.Minute)
			ends(t, c, time.Minute)
		}
	})
}
