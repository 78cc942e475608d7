package exchange

import (
	"html"
	"strconv"
	"strings"
	"time"
)

// style is how an answer of our own looks in a browser, by day and by night.
const style = `:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:38rem;margin:15vh auto 2rem;padding:0 1rem}` +
	`h1{font-size:1.5rem}dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem}dt,footer{opacity:.7}dd{margin:0;overflow-wrap:anywhere}` +
	`footer{margin-top:3rem;font-size:.85rem}`

// page is an answer of our own for people: what happened, and when it is a
// denial what was asked for, which rule decided, and whom to ask.
func (s *Session) page(r *reply, say string) []byte {
	title := html.EscapeString(strconv.Itoa(r.status) + " " + phrases[r.status])
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>" +
		title + "</title><style>" + style + "</style></head>\n<body><h1>" + title + "</h1>\n<p>" + html.EscapeString(say) + "</p>\n")
	if r.rule != "" {
		b.WriteString("<dl>")
		if r.denies() {
			row(&b, "Address", string(harmless(s.shown)))
			row(&b, "Blocked by rule", r.rule)
		}
		row(&b, "Questions", s.o.Contact)
		row(&b, "Time", time.Now().UTC().Format(time.RFC3339))
		b.WriteString("</dl>\n")
	}
	b.WriteString("<footer>This answer comes from viaduct, the proxy on the way, not from the site.</footer></body></html>\n")
	return []byte(b.String())
}

func row(b *strings.Builder, name, value string) {
	if value != "" {
		b.WriteString("<dt>" + name + "</dt><dd>" + html.EscapeString(strings.ToValidUTF8(value, "\uFFFD")) + "</dd>")
	}
}
