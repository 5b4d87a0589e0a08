package normalizecompliments

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"pipe/runtime/chat"
)

// choose picks a template by rendezvous hashing (Thaler & Ravishankar 1998): the
// one whose hash together with the record is highest. An edit of another record
// moves nothing, and one template more takes over its own share alone.
func choose(seed, reply int, messages []chat.Message, templates []string) string {
	var best [sha256.Size]byte
	chosen := templates[0]
	for i, t := range templates {
		h := hash(seed, reply, messages, t)
		if i == 0 || slices.Compare(h[:], best[:]) > 0 {
			best, chosen = h, t
		}
	}
	return chosen
}

func hash(seed, reply int, messages []chat.Message, template string) [sha256.Size]byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(seed))
	b = binary.BigEndian.AppendUint64(b, uint64(reply))
	text := func(s string) {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	for _, m := range messages {
		text(m.Role)
		text(m.Content)
	}
	text(template)
	return sha256.Sum256(b)
}
