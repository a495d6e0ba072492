"""What a merchant's rules decide, and how a decision is put together, whoever made it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from ai.actions import events, notification, of_rule
from ai.decisions import Decision, DecisionOrigin
from ai.incoming import Incoming
from ai.language import Language
from ai.rules import DEFAULT_RULES, RuleEngine, SkipCause, Verdict
from common.clock import Clock
from common.events.ids import decision_id
from common.events.replies import Action
from common.merchants import Merchant, Rule

log = structlog.get_logger("ai")


class RuleObserver(Protocol):
    """Is told what is wrong with rules."""

    def rule_skipped(self, cause: SkipCause) -> None:
        """Note a rule that could not be tried."""
        ...


class Rulings:
    """Finds rules and makes decisions of them."""

    def __init__(self, rules: RuleEngine, *, observer: RuleObserver, clock: Clock) -> None:
        self._rules = rules
        self._observer = observer
        self._clock = clock

    def rule_for(self, merchant: Merchant, asked: Incoming, earlier: Sequence[Incoming] = ()) -> Rule | None:
        """Return the merchant's rule that applies, if one does."""
        return self.judge(merchant, asked, earlier).rule

    def judge(self, merchant: Merchant, asked: Incoming, earlier: Sequence[Incoming] = ()) -> Verdict:
        """Return the merchant's rule that applies, if one does, and those that could not be tried."""
        rules = merchant.rules if merchant.rules is not None else DEFAULT_RULES
        verdict = self._rules.first(
            rules,
            channel=asked.channel,
            text=asked.text,
            earlier=[one.text for one in earlier],
            merchant=merchant.id,
        )
        for name, cause in verdict.skipped:
            self._observer.rule_skipped(cause)
            log.warning("rule.skipped", merchant=merchant.id, rule=name, cause=cause)
        return verdict

    def by_rule(
        self, rule: Rule, merchant: Merchant, said: Incoming, covers: tuple[str, ...], language: Language
    ) -> Decision:
        """Return what a rule decides."""
        actions = of_rule(rule.then, said, merchant, language)
        decision = self.decision(merchant, said, covers, actions, origin="rule", language=language)
        return replace(decision, rule=rule.name, match=rule.when.match, attention=rule.then.alert)

    def told(
        self, reason: str, merchant: Merchant, said: Incoming, language: Language, *, repeated: bool = False
    ) -> Decision:
        """Return the decision that only calls an agent; where one is called already (`repeated`), it only says why."""
        actions = [] if repeated else [notification(reason, said, merchant)]
        decision = self.decision(merchant, said, (said.id,), actions, origin="rule", language=language)
        return replace(decision, attention=reason)

    def decision(
        self,
        merchant: Merchant,
        said: Incoming,
        covers: tuple[str, ...],
        actions: Sequence[Action],
        *,
        origin: DecisionOrigin,
        language: Language,
    ) -> Decision:
        """Return a decision about what was said, with an id that is derived from it."""
        now = self._clock.now()
        id_ = decision_id(said.conversation_id, said.id)
        return Decision(
            id=id_,
            conversation_id=said.conversation_id,
            merchant_id=merchant.id,
            covers=covers,
            at=now,
            origin=origin,
            replies=events(actions, decision=id_, said=said, merchant=merchant, origin=origin, now=now),
            language=language,
        )
