"""A step: what is printed on a visitor's badge."""

from hub import Context, Message, MessageUnusable, Patient, Step, StepConfig, StepResult


class BadgeConfig(StepConfig):
    """Settings of `acme_badge`."""

    greeting: str = "Welcome"
    """The word in front of the name."""


class Badge(Step[BadgeConfig]):
    """Makes the text of a badge from a chart."""

    kind = "acme_badge"
    main = "greeting"

    async def run(self, message: Message, context: Context) -> StepResult:
        patient = message.record
        if not isinstance(patient, Patient):
            raise MessageUnusable(f"acme_badge works on a patient, but this is {message.format}", code="FLW-001")
        context.note("badge", "Badge printed", plain=True)
        text = f"{self.config.greeting} {patient.name.given} {patient.name.family}"
        return message.derive(text.encode(), format="bytes", type="badge")
