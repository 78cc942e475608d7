package main

import "bytes"

// head is what generator and origin need from an HTTP/1 request or response head.
type head struct {
	first     []byte // first line without its end
	size      int    // bytes including the blank line
	length    int64  // Content-Length, -1 when absent
	closes    bool   // Connection: close
	keepAlive bool   // Connection: keep-alive
	chunked   bool
	nothing   bool // the field that filters take off is there
}

// nothing names a field that means nothing, for filters to take off.
const nothing = "X-Nothing"

// parseHead reads a head at the start of b; ok is false when it is incomplete.
func parseHead(b []byte) (h head, ok bool) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return h, false
	}
	h.size, h.length = end+4, -1
	first, rest, _ := bytes.Cut(b[:end+2], []byte("\r\n"))
	for h.first = first; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if len(line) == 0 {
			continue
		}
		switch c := line[0] | 0x20; {
		case c == 'c' && hasFold(line, "content-length:"):
			h.length = atoi(line[15:])
		case c == 'c' && hasFold(line, "connection:"):
			v := bytes.ToLower(line[11:])
			h.closes = h.closes || bytes.Contains(v, []byte("close"))
			h.keepAlive = h.keepAlive || bytes.Contains(v, []byte("keep-alive"))
		case c == 't' && hasFold(line, "transfer-encoding:"):
			h.chunked = bytes.Contains(bytes.ToLower(line[18:]), []byte("chunked"))
		case c == 'x' && hasFold(line, nothing+":"):
			h.nothing = true
		}
	}
	return h, true
}

// status is the status code of a response, -1 when there is none.
func (h head) status() int64 {
	if len(h.first) < 10 {
		return -1
	}
	return atoi(h.first[9:])
}

func hasFold(line []byte, name string) bool {
	return len(line) >= len(name) && bytes.EqualFold(line[:len(name)], []byte(name))
}

// atoi reads a decimal number after optional spaces, -1 when there is none.
func atoi(b []byte) int64 {
	b = bytes.TrimLeft(b, " \t")
	if len(b) == 0 || b[0] < '0' || b[0] > '9' {
		return -1
	}
	n := int64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int64(c-'0')
	}
	return n
}
