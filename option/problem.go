package option

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

// Report collects the problems of what was read.
type Report struct {
	form     Form
	file     string
	flags    bool             // it comes from the command line
	places   map[string]place // by path of the option
	told     map[string]bool  // paths of what could not be read
	strange  map[string]bool  // paths of sections with something in them that nobody knows
	checking bool             // all is read
	problems Problems
}

func newReport(file string, form Form) *Report {
	return &Report{form: form, file: file, places: map[string]place{}, told: map[string]bool{}, strange: map[string]bool{}}
}

// Say tells what is wrong with the option at path. The value is what was written,
// if the text is about that. What could not be read is not judged as well.
func (r *Report) Say(path, value, text string) {
	if r.checking && r.Unread(path) {
		return
	}
	r.told[path] = r.told[path] || !r.checking
	if value != "" && !r.flags { // flags have it in their name
		text = quote(value) + ": " + text
	}
	r.sayAt(r.place(path), text)
}

// Unread tells whether the option at path, or what it stands in, could not be read:
// nothing can be said of what it would be.
func (r *Report) Unread(path string) bool {
	for p := path; p != ""; p = above(p) {
		if r.told[p] {
			return true
		}
	}
	return path == "" && r.told[""]
}

func (r *Report) sayAt(at place, text string) {
	r.problems = append(r.problems, Problem{r.file, at.line, at.col, at.name, text})
}

// place finds where an option was written, or else what it stands in.
func (r *Report) place(path string) place {
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

// Strange tells whether something stands in the section at path that nobody knows:
// nothing can be said of what is missing in it.
func (r *Report) Strange(path string) bool { return r.strange[path] }

// Name is what the operator calls the option at path, or what it stands in.
func (r *Report) Name(path string) string { return r.place(path).name }

// Implied tells whether the option at path has its default in a file that leaves it
// out.
func (r *Report) Implied(path string) bool {
	_, written := r.places[path]
	return !written && r.places[""].line > 0
}

// Hide lets no problem of the option at path show its value, whose flag this is.
func (r *Report) Hide(path, flag string) {
	if r.flags {
		r.places[path] = place{name: "--" + flag}
	}
}

// shown is what may be shown of a value.
func (r *Report) shown(f field, word string) string {
	if f.secret {
		return r.form.hidden(word)
	}
	return word
}

// hidden is what may be shown of a text that may hold a password.
func (f Form) hidden(text string) string {
	if f.Hide == nil {
		return stars
	}
	return f.Hide(text)
}

// Option is how the operator writes an option.
func (r *Report) Option(flag, key string) string {
	if r.flags {
		return "--" + flag
	}
	return key
}

// error is Problems, or nil when there is none.
func (r *Report) error() error {
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
