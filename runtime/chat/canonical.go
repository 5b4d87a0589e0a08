package chat

// AppendJSON appends the record's canonical form, without a line break, with the
// contents that Messages has now.
func (r *Record) AppendJSON(dst []byte) []byte {
	v := r.object
	if v.kind == 0 {
		v = r.made()
	}
	v.members = append([]member(nil), v.members...)
	for i := range v.members {
		if v.members[i].key == "messages" {
			v.members[i].value = withContents(v.members[i].value, r.Messages)
		}
	}
	return v.appendJSON(dst)
}

// MarshalLine returns the record's canonical form, without a line break.
func (r *Record) MarshalLine() []byte { return r.AppendJSON(nil) }

// made returns the object of a record that was not read.
func (r *Record) made() value {
	v := value{kind: isObject}
	add := func(key string, element value) { v.members = append(v.members, member{key: key, value: element}) }
	if r.ID != "" {
		add("id", value{kind: isText, text: r.ID})
	}
	if r.Kind != "" {
		add("kind", value{kind: isText, text: r.Kind})
	}
	add("messages", value{kind: isArray})
	return v
}

// withContents returns the array of messages with these contents: those it has
// keep their other keys.
func withContents(array value, messages []Message) value {
	elements := make([]value, len(messages))
	for i, m := range messages {
		if i >= len(array.elements) {
			elements[i] = value{kind: isObject, members: []member{
				{key: "role", value: value{kind: isText, text: m.Role}},
				{key: "content", value: value{kind: isText, text: m.Content}},
			}}
			continue
		}
		elements[i] = array.elements[i]
		elements[i].members = append([]member(nil), elements[i].members...)
		for j := range elements[i].members {
			if elements[i].members[j].key == "content" {
				elements[i].members[j].value.text = m.Content
			}
		}
	}
	array.elements = elements
	return array
}
