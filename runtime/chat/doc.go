// Package chat reads conversations and turns them into token ids.
//
// # Words
//
// A message is a role and a text. A conversation is messages: at most one of role
// system, first; then user and assistant in turns, beginning with user. A turn is
// a user's message with the answer to it. A record is a conversation of a data
// set, which ends with an answer; a prompt is one question without its answer.
// Both are lines of a JSON Lines file.
//
// A template says how a conversation becomes ids: what is written around the
// messages, where the system's text goes, and which ids are targets of training
// (the answers and the ids that end them) and which are not (all others).
//
// # Canonical form
//
// A line that is written again keeps its keys in their order, its numbers as they
// were spelled and its texts character for character. Spaces between tokens go,
// and text is escaped no more than JSON asks for: ", \ and control characters
// below U+0020. So reading and writing a canonical line changes nothing.
package chat
