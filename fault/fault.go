// Package fault is the closed vocabulary of failure: every failure that a
// client can see has exactly one Kind, whose name goes into the access log,
// the metrics and the Proxy-Status field alike (RFC 9209 section 2.3).
//
// A room below the answers returns an *Error, or any error that Classify
// understands. What a client reads is the Kind's sentence or the Error's Say;
// the cause stays with the operator.
package fault

// Kind says what went wrong. Its zero value, None, means that nothing did.
type Kind uint8

// The kinds are the error types of RFC 9209 section 2.3 that a proxy without
// cache and content coding can meet.
const (
	None Kind = iota
	DNSTimeout
	DNSError
	DestinationNotFound
	DestinationUnavailable
	DestinationIPProhibited
	DestinationIPUnroutable
	ConnectionRefused
	ConnectionTerminated
	ConnectionTimeout
	ConnectionReadTimeout
	ConnectionWriteTimeout
	ConnectionLimitReached
	TLSProtocolError
	TLSCertificateError
	TLSAlertReceived
	RequestError
	RequestDenied
	ResponseIncomplete
	ResponseHeaderSize
	ResponseTransferCoding
	ResponseTimeout
	UpgradeFailed
	ProtocolError
	InternalResponse
	InternalError
	ConfigurationError
	LoopDetected
	kinds
)

// kind is one row of the vocabulary: the token of RFC 9209, the status code of
// an answer made for it, and the sentence that a client reads.
type kind struct {
	token  string
	status int
	say    string
}

var table = [kinds]kind{
	None:                    {"", 200, ""},
	DNSTimeout:              {"dns_timeout", 504, "The name of the destination could not be resolved in time."},
	DNSError:                {"dns_error", 502, "The name of the destination could not be resolved."},
	DestinationNotFound:     {"destination_not_found", 500, "No way leads to this destination."},
	DestinationUnavailable:  {"destination_unavailable", 503, "No server for this destination is available."},
	DestinationIPProhibited: {"destination_ip_prohibited", 403, "The address of this destination may not be reached."},
	DestinationIPUnroutable: {"destination_ip_unroutable", 502, "The destination has no address that can be reached from here."},
	ConnectionRefused:       {"connection_refused", 502, "The destination refused the connection."},
	ConnectionTerminated:    {"connection_terminated", 502, "The destination ended the connection before it answered."},
	ConnectionTimeout:       {"connection_timeout", 504, "The destination did not accept the connection in time."},
	ConnectionReadTimeout:   {"connection_read_timeout", 504, "The destination stopped sending."},
	ConnectionWriteTimeout:  {"connection_write_timeout", 504, "The destination stopped reading."},
	ConnectionLimitReached:  {"connection_limit_reached", 503, "Too many connections are open."},
	TLSProtocolError:        {"tls_protocol_error", 502, "The destination failed to set up TLS."},
	TLSCertificateError:     {"tls_certificate_error", 502, "The certificate of the destination is not valid."},
	TLSAlertReceived:        {"tls_alert_received", 502, "The destination refused to go on with TLS."},
	RequestError:            {"http_request_error", 400, "The request is not valid."},
	RequestDenied:           {"http_request_denied", 403, "This request is not allowed here."},
	ResponseIncomplete:      {"http_response_incomplete", 502, "The answer of the destination ended early."},
	ResponseHeaderSize:      {"http_response_header_section_size", 502, "The head of the destination's answer is too large."},
	ResponseTransferCoding:  {"http_response_transfer_coding", 502, "The answer of the destination is coded in a way that is not understood."},
	ResponseTimeout:         {"http_response_timeout", 504, "The destination did not answer in time."},
	UpgradeFailed:           {"http_upgrade_failed", 502, "The destination changed to a protocol that was not asked for."},
	ProtocolError:           {"http_protocol_error", 502, "The answer of the destination is not valid HTTP."},
	InternalResponse:        {"proxy_internal_response", 200, "Answered by the proxy itself."},
	InternalError:           {"proxy_internal_error", 500, "The proxy met an error of its own."},
	ConfigurationError:      {"proxy_configuration_error", 500, "The proxy is not configured for this request."},
	LoopDetected:            {"proxy_loop_detected", 421, "The request would come back to this proxy."},
}

// String is the RFC 9209 token: "connection_refused". None is "".
func (k Kind) String() string { return table[k].token }

// Named is the kind with a token, None if there is none.
func Named(token string) Kind {
	for k := range kinds {
		if table[k].token == token {
			return k
		}
	}
	return None
}

// Status is the status code of an answer that reports this kind.
func (k Kind) Status() int { return table[k].status }

// Say is the sentence that a client reads. It names no address.
func (k Kind) Say() string { return table[k].say }

// Error is a failure with its Kind. The zero Code and Text stand for those of
// the Kind. It is immutable: parsers return shared values, so that refusing
// garbage costs nothing.
type Error struct {
	Kind Kind
	Code int    // status for the client; 0 means Kind.Status()
	Text string // sentence for the client, without addresses; "" means Kind.Say()
	Err  error  // cause, for the operator only; may be nil
}

// New returns an error of a kind, with the operator's cause.
func New(k Kind, cause error) *Error { return &Error{Kind: k, Err: cause} }

// Bad returns a refusal of the client's request: code is 4xx or 5xx, say the
// sentence that the client reads.
func Bad(code int, say string) *Error { return &Error{Kind: RequestError, Code: code, Text: say} }

// Status is the status code for the client.
func (e *Error) Status() int {
	if e.Code != 0 {
		return e.Code
	}
	return e.Kind.Status()
}

// Say is the sentence for the client.
func (e *Error) Say() string {
	if e.Text != "" {
		return e.Text
	}
	return e.Kind.Say()
}

// Error is the operator's text: the kind, then the cause.
func (e *Error) Error() string {
	switch {
	case e.Err != nil:
		return e.Kind.String() + ": " + e.Err.Error()
	case e.Text != "":
		return e.Kind.String() + ": " + e.Text
	default:
		return e.Kind.String()
	}
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }
