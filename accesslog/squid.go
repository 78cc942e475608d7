package accesslog

import "strings"

// Squid escapes as URLs do. A percent sign stays as it is where URLs have it,
// so a target that has %20 looks like one that has a space.
var (
	inSquid     = escape{lead: "%", space: true}
	inSquidUser = escape{lead: "%", space: true, sign: '%'}
)

// appendSquid writes squid's native format: when the exchange ended, how many
// milliseconds it took, client, result and status, bytes to the client (of the
// body; squid adds the head), method, target, user, way and address of the far
// side, content type (not told).
func (e *Entry) appendSquid(b []byte) []byte {
	took := max(e.Total, 0)
	end := max(e.Time.Add(took).UnixMilli(), 0)
	b = appendNumber(b, end/1000, 9, ' ')
	b = append(b, '.')
	b = appendNumber(b, end%1000, 3, '0')
	b = append(b, ' ')
	b = appendNumber(b, took.Milliseconds(), 6, ' ')
	b = append(b, ' ')
	b = appendAddr(b, e.Client.Addr())
	b = append(b, ' ')
	b = append(b, e.result()...)
	b = append(b, e.howBroken()...)
	b = append(b, '/')
	b = appendNumber(b, int64(e.Status), 3, '0')
	b = append(b, ' ')
	b = appendNumber(b, e.Sent, 1, ' ')
	b = append(b, ' ')
	from := len(b)
	b = append(inSquid.orDash(appendName(b, e.Method, inSquid), from), ' ')
	from = len(b)
	b = append(inSquid.orDash(appendTarget(b, e.Target, inSquid), from), ' ')
	from = len(b)
	b = inSquidUser.orDash(appendName(b, e.User, inSquidUser), from)
	b = e.appendWay(b)
	return append(b, " -"...)
}

// appendWay writes how the request left, and to whom. Squid asks the first of its
// parents that is up, and so do we.
func (e *Entry) appendWay(b []byte) []byte {
	switch {
	case e.Parent != "":
		b = append(b, " FIRSTUP_PARENT/"...)
		from := len(b)
		host := parentHost(e.Parent)
		return inSquid.orDash(appendEscaped(b, host[:min(len(host), mostParent)], inSquid), from)
	case e.Endpoint.IsValid():
		b = append(b, " HIER_DIRECT/"...)
	default:
		b = append(b, " HIER_NONE/"...)
	}
	return appendAddr(b, e.Endpoint.Addr())
}

// parentHost is the host in the id of a parent, of a chain that which is
// connected to. An id that the operator made up is told as it is.
func parentHost(id string) string {
	first, _, _ := strings.Cut(id, " -> ")
	_, host, isURL := strings.Cut(first, "://")
	if !isURL {
		return id
	}
	if end := strings.LastIndexByte(host, ':'); end > strings.LastIndexByte(host, ']') {
		host = host[:end]
	}
	return strings.Trim(host, "[]")
}

// deny is the Decision that lets nothing pass.
const deny = "deny"

// Faults (RFC 9209 section 2.3) that have a word of their own with squid.
const (
	badRequest   = "http_request_error"
	denied       = "http_request_denied"
	prohibited   = "destination_ip_prohibited"
	brokenAnswer = "http_response_incomplete"
	tookTooLong  = "_timeout" // ends the names of all that are about time
)

// result is squid's word for what came of a request. As with squid, a CONNECT
// that was let through is a tunnel, and its status tells whether it came about;
// what was fetched, or should have been, is a miss; and what was answered here
// without going anywhere is none of them.
func (e *Entry) result() string {
	switch {
	case e.denied():
		return "TCP_DENIED"
	case e.Tries == 0 && e.Fault == badRequest:
		return "NONE_NONE"
	case e.Status == 101, string(e.Method) == "CONNECT":
		return "TCP_TUNNEL"
	case e.Tries == 0 && e.Fault == "":
		return "NONE_NONE"
	}
	return "TCP_MISS"
}

// denied tells whether the policy refused it: at once, or by what was learnt on
// the way. What was sent nowhere has its status from here.
func (e *Entry) denied() bool {
	here := e.Tries == 0 && (e.Status == 403 || e.Status == 407 || e.Status == 429)
	return here || e.Decision == deny || e.Fault == denied || e.Fault == prohibited
}

// howBroken is squid's word for what did not come to a good end: because of a
// limit, or because a connection broke, mostly the client's.
func (e *Entry) howBroken() string {
	tunnel := e.Status == 101 || e.Status == 200 && string(e.Method) == "CONNECT"
	switch {
	case strings.HasSuffix(e.Fault, tookTooLong), e.Fault == badRequest && e.Status == 408:
		return "_TIMEOUT"
	case tunnel && e.Fault != "" && !e.denied(), !tunnel && e.Ended == Client, e.Fault == brokenAnswer:
		return "_ABORTED"
	}
	return ""
}
