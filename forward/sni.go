package forward

import (
	"viaduct/acl"
	"viaduct/exchange"
	"viaduct/fault"
	"viaduct/hop"
	"viaduct/metrics"
	"viaduct/sni"
)

// SNI says what becomes of a tunnel whose ClientHello names another host than
// its CONNECT did: a way to a host that the rules have not seen.
type SNI uint8

// What becomes of it.
const (
	SNIOff     SNI = iota // nobody looks
	SNIReport             // it is logged
	SNIEnforce            // it is cut before a byte of it has gone on
)

// ParseSNI reads off, report or enforce; anything else is off.
func ParseSNI(s string) SNI {
	switch s {
	case "report":
		return SNIReport
	case "enforce":
		return SNIEnforce
	}
	return SNIOff
}

var errSNI = &fault.Error{Kind: fault.RequestDenied, Text: "The TLS inside the tunnel names another host."}

// look returns what judges the first bytes of a tunnel; nil when nobody does.
//
// What is not TLS passes: it has no name that a host could be chosen by. TLS
// must name the host of the CONNECT, or none where that is an address (RFC 6066
// section 3 knows no addresses). With Encrypted Client Hello only the outer name
// is seen, which then is that of whoever hides the inner one: it passes if the
// CONNECT was for that host, and what is inside remains unknown.
func (c *Client) look(target *hop.Target) func([]byte, bool) (bool, exchange.Record, error) {
	mode, host, isAddr := c.proxy.o.SNI, target.Host, target.Addr.IsValid()
	if mode == SNIOff {
		return nil
	}
	proxy := c.proxy
	return func(b []byte, last bool) (more bool, r exchange.Record, err error) {
		hello, result := sni.Read(b)
		switch {
		case result == sni.More && !last:
			return true, r, nil
		case result == sni.NotTLS, len(b) == 0:
			return false, r, nil
		case result == sni.TLS && (hello.Name == host || isAddr && hello.Name == ""):
			return false, r, nil
		}
		v := denial("sni", errSNI, metrics.PhaseSNI)
		v.Effect = acl.Observe
		if mode == SNIEnforce {
			v.Effect = acl.Deny
		}
		proxy.count(v)
		r = v.record()
		r.SNI = hello.Name
		if mode == SNIEnforce {
			return false, r, &exchange.Denied{Fault: errSNI, Record: r}
		}
		return false, r, nil
	}
}
