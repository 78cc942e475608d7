package exchange

import (
	"crypto/tls"
	"errors"
	"time"

	"viaduct/accesslog"
	"viaduct/clock"
	"viaduct/fault"
	"viaduct/tap"
)

// Secure is the client's connection if it is TLS, else nil.
func (s *Session) Secure() *tls.Conn {
	c, _ := s.client.NetConn().(*tls.Conn)
	return c
}

// Handshake does the TLS handshake with a client whose connection is Secure,
// within the header timeout, which the first request has what is left of. The
// client counts as one that owes a request. One that speaks HTTP instead is told
// notTLS.
func (s *Session) Handshake(notTLS *fault.Error) error {
	secure := s.Secure()
	s.client.Park(clock.Now(), s.o.HeaderTimeout)
	err := secure.Handshake()
	if !s.client.Unpark() {
		return errLateTLS
	}
	if err == nil || isEnd(err) {
		return err
	}
	s.client.LimitRead(0, 0)
	other, ok := errors.AsType[tls.RecordHeaderError](err)
	if ok && other.Conn != nil && isHTTP(other.RecordHeader[:]) {
		TurnAway(other.Conn, notTLS)
	} else {
		hearOut(clock.Socket(secure)) // it may be sending already, and has an alert to read
	}
	return err
}

// errLateTLS says that a handshake was ended by us.
var errLateTLS = fault.New(fault.ConnectionReadTimeout, errors.New("TLS was not set up in time, or was cut by drain"))

// firstLimit is what is left of the header timeout for the first request, of which
// TLS may have taken a part. Zero is no bound.
func (s *Session) firstLimit() time.Duration {
	if s.o.HeaderTimeout == 0 {
		return 0
	}
	return max(s.accepted+s.o.HeaderTimeout-clock.Now(), 1)
}

// isHTTP tells whether a connection begins like a request.
func isHTTP(b []byte) bool {
	switch string(b[:3]) {
	case "GET", "HEA", "POS", "PUT", "DEL", "CON", "OPT", "TRA", "PAT":
		return true
	}
	return false
}

// Unshaken logs a client whose handshake has failed, if it has sent anything.
func (s *Session) Unshaken(why *fault.Error) {
	if s.o.Log == nil {
		return
	}
	e := accesslog.Entry{
		Time: time.Now(), Mode: s.o.Mode, Client: s.remote, Fault: why.Kind.String(), Cause: why.Err.Error(),
		Ended: accesslog.Client, Total: clock.Now() - s.accepted,
	}
	if errors.Is(why, errLateTLS) {
		e.Ended = accesslog.Proxy
	}
	if below, ok := s.Secure().NetConn().(*tap.Conn); ok {
		e.Received, e.Sent = below.Moved()
	}
	if e.Received > 0 {
		s.o.Log.Add(&e)
	}
}
