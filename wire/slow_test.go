package wire_test

import (
	"io"
	"testing"
	"time"

	"viaduct/clock"
)

// TestSlowPeerIsNotCut: the limit is for a peer that takes nothing.
func TestSlowPeerIsNotCut(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	c, far := narrow(t)
	stop := make(chan struct{})
	defer close(stop)
	go sip(far, 64<<10, 50*time.Millisecond, stop)
	const limit = time.Second
	began := clock.Now()
	c.LimitWrite(began, limit)
	n, err := c.Write(make([]byte, size))
	if took := clock.Now() - began; err != nil || n != size || c.Aborted() || took < 2*limit {
		t.Errorf("%d bytes, %v, aborted %v after %v", n, err, c.Aborted(), took)
	}
}

// sip reads so many bytes at a time, with a pause after each.
func sip(nc io.Reader, n int, pause time.Duration, stop <-chan struct{}) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for b := make([]byte, n); ; {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if _, err := nc.Read(b); err != nil {
			return
		}
	}
}
