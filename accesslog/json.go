package accesslog

import (
	"net/netip"
	"strconv"
	"time"
)

// inJSON writes bytes that are not ASCII as Latin-1.
var inJSON = escape{lead: `\u00`}

// appendJSON writes an object. What is not known has no key.
func (e *Entry) appendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = appendTime(b, e.Time)
	b = append(b, `","mode":"`...)
	b = append(b, e.Mode...)
	b = append(b, `","client":"`...)
	if e.Client.IsValid() {
		b = withoutZone(e.Client).AppendTo(b)
	}
	b = append(b, '"')
	if e.User != "" {
		b = append(b, `,"user":"`...)
		b = append(appendName(b, e.User, inJSON), '"')
	}
	b = append(b, `,"method":"`...)
	b = appendName(b, e.Method, inJSON)
	b = append(b, `","target":"`...)
	b = appendTarget(b, e.Target, inJSON)
	b = append(b, '"')
	if e.Egress.IsValid() {
		b = append(b, `,"egress":"`...)
		b = append(appendAddr(b, e.Egress), '"')
	}
	b = appendText(b, `,"pool":"`, e.Pool[:min(len(e.Pool), mostName)])
	switch {
	case e.Parent != "":
		b = appendText(b, `,"endpoint":"`, e.Parent[:min(len(e.Parent), mostParent)])
	case e.Endpoint.IsValid():
		b = append(b, `,"endpoint":"`...)
		b = append(withoutZone(e.Endpoint).AppendTo(b), '"')
	}
	return e.appendOutcome(b)
}

// appendTime writes 2006-01-02T15:04:05.000Z, three times as fast as
// time.Time.AppendFormat reads that.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = appendNumber(b, int64(year), 4, '0')
	b = appendTwo(append(b, '-'), int(month))
	b = appendTwo(append(b, '-'), day)
	b = appendTwo(append(b, 'T'), hour)
	b = appendTwo(append(b, ':'), minute)
	b = appendTwo(append(b, ':'), second)
	b = appendNumber(append(b, '.'), int64(t.Nanosecond()/1e6), 3, '0')
	return append(b, 'Z')
}

func appendTwo(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

func (e *Entry) appendOutcome(b []byte) []byte {
	b = append(b, `,"tries":`...)
	b = strconv.AppendInt(b, int64(e.Tries), 10)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(e.Status), 10)
	b = appendText(b, `,"fault":"`, e.Fault)
	b = appendText(b, `,"error":"`, e.Cause[:min(len(e.Cause), mostCause)])
	b = appendText(b, `,"decision":"`, e.Decision)
	b = appendText(b, `,"rule":"`, e.Rule[:min(len(e.Rule), mostName)])
	b = appendText(b, `,"phase":"`, e.Phase)
	b = appendText(b, `,"sni":"`, e.SNI[:min(len(e.SNI), mostSNI)])
	b = appendText(b, `,"inspect":"`, e.Inspect[:min(len(e.Inspect), mostName)])
	b = append(b, `,"bytes_received":`...)
	b = strconv.AppendInt(b, e.Received, 10)
	b = append(b, `,"bytes_sent":`...)
	b = strconv.AppendInt(b, e.Sent, 10)
	b = appendSeconds(b, `,"dial_s":`, e.Dial)
	b = appendSeconds(b, `,"first_byte_s":`, e.First)
	b = appendSeconds(b, `,"total_s":`, e.Total)
	b = appendText(b, `,"ended_by":"`, e.Ended.String())
	return append(b, '}')
}

func appendText(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, key...)
	return append(appendEscaped(b, value, inJSON), '"')
}

// appendSeconds writes seconds with six digits behind the point.
func appendSeconds(b []byte, key string, d time.Duration) []byte {
	micros := max(d, 0).Microseconds()
	b = append(b, key...)
	b = strconv.AppendInt(b, micros/1e6, 10)
	b = append(b, '.')
	return appendNumber(b, micros%1e6, 6, '0')
}

func withoutZone(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}
