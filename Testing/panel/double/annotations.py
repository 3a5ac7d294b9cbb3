"""What may stand in the Annotated type of a parameter, and FloatRange."""


class Default:
    def __init__(self, value):
        self.value = value


class Decimals(Default):
    """Annotation for spin boxes and sliders."""


class SingleStep(Default):
    """Annotation for spin boxes and sliders."""


class Validator:
    """Abstract, as Slicer's is."""

    def validate(self, value):
        raise NotImplementedError


class NotNone(Validator):
    def validate(self, value):
        if value is None:
            raise ValueError("Value must not be None")


class WithinRange(Validator):
    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not within [{self.minimum}, {self.maximum}]")


class Minimum(Validator):
    def __init__(self, minimum):
        self.minimum = minimum

    def validate(self, value):
        if value < self.minimum:
            raise ValueError(f"{value} is less than {self.minimum}")


class Maximum(Validator):
    def __init__(self, maximum):
        self.maximum = maximum

    def validate(self, value):
        if value > self.maximum:
            raise ValueError(f"{value} is more than {self.maximum}")


class Choice(Validator):
    def __init__(self, choices):
        self.choices = choices

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"{value} is none of {self.choices}")


class Exclude(Validator):
    def __init__(self, excludedValues):
        self.excludedValues = excludedValues

    def validate(self, value):
        if value in self.excludedValues:
            raise ValueError(f"{value} is excluded")


class FloatRange:
    def __init__(self, minimum, maximum):
        if minimum > maximum:
            raise ValueError(f"minimum {minimum} is more than maximum {maximum}")
        self.minimum, self.maximum = minimum, maximum

    def __eq__(self, other):
        return isinstance(other, FloatRange) and (self.minimum, self.maximum) == (other.minimum, other.maximum)

    __hash__ = None


class RangeBounds(WithinRange):
    def validate(self, value):
        super().validate(value.minimum)
        super().validate(value.maximum)
