package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net/http"
)

// echo sends a WebSocket's messages back, as far as a browser needs it: short
// frames, each a whole message (RFC 6455 section 5.2).
func echo(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if key == "" {
		http.Error(w, "this speaks WebSocket", http.StatusUpgradeRequired)
		return
	}
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "HTTP/1.1 only", http.StatusHTTPVersionNotSupported)
		return
	}
	defer c.Close()
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
	for rw.Flush() == nil {
		first, text, err := frame(rw.Reader)
		if err != nil {
			return
		}
		_, _ = rw.Write(append([]byte{first, byte(len(text))}, text...))
		if first&0xf == 8 { // close
			_ = rw.Flush()
			return
		}
	}
}

// frame reads a masked frame of fewer than 126 bytes.
func frame(r *bufio.Reader) (first byte, text []byte, err error) {
	head := make([]byte, 6)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	length := int(head[1] & 0x7f)
	if length > 125 {
		return 0, nil, io.ErrShortBuffer
	}
	text = make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return 0, nil, err
	}
	for i := range text {
		text[i] ^= head[2+i%4]
	}
	return head[0], text, nil
}
