package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake of the operator. Line and Col count from 1; they are 0,
// and File is empty, when it was not made in a file.
type Problem struct {
	File      string
	Line, Col int
	Path      string // which option: forward[0].listen[1], or --listen and its value
	Text      string // what was written, and what to write
}

// String is one line: FILE:LINE:COL: path: text.
func (p Problem) String() string {
	s := p.Text
	if p.Path != "" {
		s = p.Path + ": " + s
	}
	if p.Line > 0 {
		s = fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Col, s)
	}
	return s
}

// Problems is what is wrong with a configuration, in order of place. Where that
// is very much, the last one counts the rest. It is the error of whatever reads
// or checks a configuration.
type Problems []Problem //nolint:errname // it reads as what it is: a list of problems

// Error has a line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// place is where an option was written, and how it is called there.
type place struct {
	line, col int
	name      string
}

// report collects the problems of a configuration.
type report struct {
	file     string
	flags    bool             // it comes from the command line
	places   map[string]place // by path of the option
	told     map[string]bool  // paths of what could not be read
	checking bool             // all is read
	problems Problems
}

func newReport(file string) *report {
	return &report{file: file, places: map[string]place{}, told: map[string]bool{}}
}

// say tells what is wrong with the option at path. The value is what was written,
// if the text is about that. What could not be read is not judged as well.
func (r *report) say(path, value, text string) {
	if r.checking && r.unread(path) {
		return
	}
	r.told[path] = r.told[path] || !r.checking
	if value != "" && !r.flags { // flags have it in their name
		text = quote(value) + ": " + text
	}
	r.sayAt(r.place(path), text)
}

// unread tells whether the option at path, or what it stands in, could not be read.
func (r *report) unread(path string) bool {
	for p := path; p != ""; p = above(p) {
		if r.told[p] {
			return true
		}
	}
	return path == "" && r.told[""]
}

func (r *report) sayAt(at place, text string) {
	r.problems = append(r.problems, Problem{r.file, at.line, at.col, at.name, text})
}

// place finds where an option was written, or else what it stands in.
func (r *report) place(path string) place {
	for p := path; p != ""; p = above(p) {
		if at, ok := r.places[p]; ok {
			if !r.flags {
				at.name = path
			}
			return at
		}
	}
	at := r.places[""]
	at.name = path
	return at
}

// error is Problems, or nil when there is none.
func (r *report) error() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return cmp.Or(a.Line-b.Line, a.Col-b.Col) })
	const most = 50 // as somebody reads at a time
	if more := len(r.problems) - most; more > 0 {
		next := r.problems[most]
		next.Path, next.Text = "", fmt.Sprintf("… and %d more", more)
		r.problems = append(r.problems[:most:most], next)
	}
	return r.problems
}
