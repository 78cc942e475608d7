package exchange

import (
	"io"
	"net"
	"strconv"
	"time"

	"viaduct/fault"
	"viaduct/wire"
)

// Bounds of what is done for a client that is turned away.
const (
	awayTime = time.Second
	awayMax  = 256 << 10
)

// TurnAway answers a client that there is no room for, before it has said what
// it wants, and closes the connection. It reads what the client is sending for a
// moment: closing at once would reset the connection, and the reset overtake the
// answer.
func TurnAway(nc net.Conn, why *fault.Error) {
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(awayTime))
	b := wire.NewBuffer()
	defer b.Free()
	say := why.Say() + "\n"
	b.B = append(b.B, "HTTP/1.1 "...)
	b.B = strconv.AppendInt(b.B, int64(why.Status()), 10)
	b.B = append(append(b.B, ' '), phrases[why.Status()]...)
	b.B = append(append(b.B, "\r\nProxy-Status: viaduct; error="...), why.Kind.String()...)
	b.B = append(b.B, "\r\nContent-Type: text/plain; charset=utf-8"...)
	if why.Kind == fault.ConnectionLimitReached {
		b.B = append(b.B, "\r\nRetry-After: 5"...)
	}
	b.B = append(b.B, "\r\nConnection: close\r\nContent-Length: "...)
	b.B = strconv.AppendInt(b.B, int64(len(say)), 10)
	b.B = append(append(b.B, "\r\n\r\n"...), say...)
	if _, err := nc.Write(b.B); err == nil {
		hearOut(nc)
	}
}

// hearOut ends our side of a connection, and reads for a moment what the client is
// sending, so that it sees the end.
func hearOut(nc net.Conn) {
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = nc.SetDeadline(time.Now().Add(awayTime))
	b := wire.NewBuffer()
	defer b.Free()
	_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(nc, awayMax), b.B[:cap(b.B)])
}
