package passage

import (
	"context"
	"time"

	"viaduct/clock"
	"viaduct/fault"
	"viaduct/parent"
	"viaduct/upstream"
)

// Silent asks the last hop, on a connection of its own, whether it is still at work,
// and tells whether nothing came back until ctx ended. Whoever refuses, ends the
// connection or talks nonsense is at work: it may be about to end in good order, and
// have what it was asked for before still done. When ctx is cancelled, it is false.
func (p *Passage) Silent(ctx context.Context, from *upstream.Source, via string) bool {
	if p.Direct() {
		return false
	}
	err := p.way.Load().ask(ctx, from, via)
	if err == nil || IsCanceled(ctx.Err()) {
		return false
	}
	switch fault.Classify(err) {
	case fault.ConnectionTimeout, fault.ConnectionReadTimeout, fault.ConnectionWriteTimeout, fault.DestinationIPUnroutable:
		return true
	}
	return false
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// ask fails if not a byte is said to a question.
func (w *way) ask(ctx context.Context, from *upstream.Source, via string) error {
	nc, err := w.open(ctx, from, via)
	if err != nil {
		return err
	}
	last := w.last()
	if last.Scheme == parent.HTTPS {
		if nc, err = secure(ctx, last, nc); err != nil {
			return err
		}
	}
	defer clock.Close(nc)
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(past) })
	defer stop()
	if _, err = nc.Write(question(last)); err != nil {
		return err
	}
	var b [1]byte
	_, err = nc.Read(b[:])
	return err
}

// question is what a proxy can answer without asking anybody: what it can do (RFC
// 9110 sections 7.6.2 and 9.3.7), or which methods of authentication it takes (RFC 1928
// section 3). No credentials are needed to be refused.
func question(p parent.Proxy) []byte {
	if p.Scheme == parent.SOCKS5 {
		return []byte{5, 1, 0}
	}
	return []byte("OPTIONS * HTTP/1.1\r\nHost: " + authority(p) + "\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n")
}
