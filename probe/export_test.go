package probe

// ReadLine reads an agent's line.
func ReadLine(line string) Result {
	r := Result{Weight: -1, Limit: -1}
	r.Err = readLine(line, &r)
	return r
}

// ReadJSON reads an agent's answer over HTTP.
func ReadJSON(b string) Result {
	r := Result{Weight: -1, Limit: -1}
	r.Err = readJSON([]byte(b), &r)
	return r
}
