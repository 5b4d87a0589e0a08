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
	record := hashed(seed, reply, messages)
	for i, t := range templates {
		h := sha256.Sum256(appendText(record, t))
		if i == 0 || slices.Compare(h[:], best[:]) > 0 {
			best, chosen = h, t
		}
	}
	return chosen
}

// hashed is what of a record is hashed, before the template.
func hashed(seed, reply int, messages []chat.Message) []byte {
	b := make([]byte, 0, 1024)
	b = binary.BigEndian.AppendUint64(b, uint64(seed))
	b = binary.BigEndian.AppendUint64(b, uint64(reply))
	for _, m := range messages {
		b = appendText(appendText(b, m.Role), m.Content)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
}
