package accesslog

// Combined escapes as Apache does, but quotes and backslashes as bytes, too: a
// program that knows no escapes finds the end of a field at the quote.
var (
	inCombined = escape{lead: `\x`, space: true}
	inQuotes   = escape{lead: `\x`}
)

// appendCombined writes the combined format of Apache and the NCSA server:
// client, user, when the request came (in UTC), the request line, status, bytes
// of the body, referer and agent.
func (e *Entry) appendCombined(b []byte) []byte {
	b = appendAddr(b, e.Client.Addr())
	b = append(b, " - "...)
	from := len(b)
	b = inCombined.orDash(appendName(b, e.User, inCombined), from)
	b = append(b, " ["...)
	b = e.Time.UTC().AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
	b = append(b, `] "`...)
	b = e.appendRequestLine(b)
	b = append(b, `" `...)
	b = appendNumber(b, int64(e.Status), 3, '0')
	b = append(b, ' ')
	if e.Sent > 0 {
		b = appendNumber(b, e.Sent, 1, ' ')
	} else {
		b = append(b, '-') // so says the Common Log Format
	}
	b = append(b, ` "`...)
	from = len(b)
	b = inQuotes.orDash(appendTarget(b, e.Referer, inQuotes), from)
	b = append(b, `" "`...)
	from = len(b)
	b = inQuotes.orDash(appendEscaped(b, e.Agent[:min(len(e.Agent), mostAgent)], inQuotes), from)
	return append(b, '"')
}

// appendRequestLine writes a dash for a request that could not be read.
func (e *Entry) appendRequestLine(b []byte) []byte {
	if len(e.Method) == 0 && len(e.Target) == 0 {
		return append(b, '-')
	}
	from := len(b)
	b = append(inCombined.orDash(appendName(b, e.Method, inCombined), from), ' ')
	from = len(b)
	b = inCombined.orDash(appendTarget(b, e.Target, inCombined), from)
	b = append(b, " HTTP/1."...)
	return appendNumber(b, int64(e.Minor), 1, ' ')
}
