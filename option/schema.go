package option

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
)

// object is one of JSON.
type object map[string]any

// Schema is a JSON Schema (draft 2020-12) of a file that holds such a section, for
// editors that check and complete it. These keys must be there.
func Schema(section any, title string, required ...string) []byte {
	s := sectionSchema(reflect.TypeOf(section))
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = title
	s["type"] = "object"
	s["required"] = required
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		panic(err) // there is nothing in it that JSON does not have
	}
	return b.Bytes()
}

func sectionSchema(section reflect.Type) object {
	properties, oneOf := object{}, []object{}
	for _, f := range fields(section) {
		if f.lined() {
			oneOf = append(oneOf, object{"required": []string{f.key}})
		}
		s := f.schema()
		s["description"] = f.usage
		if v := reflect.New(f.typ).Elem(); f.preset != "" {
			f.set(v, []string{f.preset}, func(int, string) {})
			s["default"] = f.jsonic(v)
		}
		properties[f.key] = s
	}
	s := object{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
	if len(oneOf) > 0 {
		s["type"], s["oneOf"] = "object", oneOf
	}
	return s
}

// jsonic is a value as JSON has it.
func (f field) jsonic(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Slice, reflect.Bool, reflect.Int, reflect.Float64:
		if v.Type() != sizeType && !strings.HasSuffix(f.preset, "%") {
			return v.Interface()
		}
	}
	return f.written(v)
}

// Patterns of what has a unit, of ports in one word, and of what may stand in
// quotes.
const (
	durationPattern = `^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`
	sizePattern     = `^ *[0-9]+ *(B|kB|KiB|MB|MiB|GiB)$`
	portsPattern    = `^(any| *[0-9]+ *(, *[0-9]+ *)*)$`
	booleanPattern  = `^(true|false|True|False|TRUE|FALSE)$`
	numberPattern   = `^\+?[0-9]+$`
	fractionPattern = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)%?$`
	namePattern     = `^[a-z0-9_-]{1,64}$`
)

func (f field) schema() object {
	switch {
	case f.section():
		return sectionSchema(f.typ)
	case f.optional():
		s := sectionSchema(f.typ.Elem())
		s["type"] = "object"
		return s
	case f.named != "":
		return object{"type": []string{"object", "null"}, "patternProperties": object{namePattern: sectionSchema(f.typ.Elem())}, "additionalProperties": false}
	case f.sections():
		return object{"type": "array", "minItems": f.fewest(), "items": sectionSchema(f.typ.Elem())}
	case f.typ == portsType:
		one := object{"type": []string{"integer", "string"}, "minimum": 1, "maximum": 65535, "pattern": portsPattern}
		return object{"anyOf": []object{one, {"type": "array", "items": one, "minItems": 1}}}
	case f.list():
		one := field{typ: f.typ.Elem()}.schema()
		least := max(f.fewest(), min(1, len(f.preset))) // where the default is something, nothing is wrong
		if f.fewest() > 0 {
			one["type"] = []string{"string", "integer"} // a port, or a name of digits
		}
		return object{"anyOf": []object{one, {"type": "array", "items": one, "minItems": least}}}
	case f.typ == durationType:
		return object{"type": "string", "pattern": durationPattern}
	case f.typ == sizeType:
		return object{"type": "string", "pattern": sizePattern}
	case f.typ.Kind() == reflect.Bool:
		return object{"type": []string{"boolean", "string"}, "pattern": booleanPattern, "default": false}
	case f.typ.Kind() == reflect.Int:
		return object{"type": []string{"integer", "string"}, "minimum": 0, "maximum": math.MaxInt32, "pattern": numberPattern}
	case f.typ.Kind() == reflect.Float64:
		return object{"type": []string{"number", "string"}, "minimum": 0, "pattern": fractionPattern}
	case len(f.oneof) > 0:
		return object{"enum": f.oneof}
	}
	if f.needed() {
		return object{"type": "string", "minLength": 1}
	}
	return object{"type": "string"}
}
